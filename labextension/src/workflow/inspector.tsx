import * as React from 'react';

import { ago } from '../format';
import { useEditor, useModel, useNow, useWords } from './context';
import {
  CHANGED_SIGN,
  hasEnded,
  INodeRun,
  jobOf,
  NODE_SIGNS,
  runLine,
  took
} from './execution';
import { INode, nodeOf } from './graph';
import { familyIcon, Icon } from './icons';
import { OutputView } from './outputView';
import { Overview } from './overview';
import { SettingsForm } from './settingsForm';
import { IIssue } from './transport';

const NO_ISSUES: readonly IIssue[] = [];

/** The selected node: what it gave when it last ran, what is wrong with it, its settings. With none: the whole workflow. */
export function Inspector(): React.JSX.Element {
  const trans = useWords();
  const selected = useEditor(state => state.nodes);
  const [only] = selected;
  const node = useEditor(state => nodeOf(state.graph, only));
  return (
    <aside
      className="mf-flow-inspector"
      aria-label={trans.__('Inspector')}
      // another node is read from its top
      key={selected.size === 1 ? only : ''}
    >
      {selected.size > 1 ? (
        <Several count={selected.size} />
      ) : node ? (
        <NodeInspector key={node.id} node={node} />
      ) : (
        <Overview />
      )}
    </aside>
  );
}

function Several(props: { count: number }): React.JSX.Element {
  const model = useModel();
  const trans = useWords();
  return (
    <>
      <h3>{trans.__('%1 nodes', props.count)}</h3>
      <div className="mf-flow-row">
        <button onClick={() => model.duplicate()}>
          {trans.__('Duplicate')}
        </button>
        <button onClick={() => model.removeSelected()}>
          {trans.__('Delete')}
        </button>
      </div>
    </>
  );
}

function NodeInspector(props: { node: INode }): React.JSX.Element {
  const { node } = props;
  const trans = useWords();
  const type = useEditor(state => state.catalogue.get(node.type));
  const issues = useEditor(state => state.issuesOf.get(node.id) ?? NO_ISSUES);
  const run = useEditor(state => state.runs.get(node.id));
  const changed = useEditor(state => state.changed.has(node.id));
  return (
    <>
      <header>
        <Icon name={type ? familyIcon(type.family, type.name) : 'warning'} />
        <h3>{type?.title ?? trans.__('Unknown node')}</h3>
      </header>
      <code>{node.type}</code>
      <p className="mf-flow-help">
        {type?.help ??
          trans.__(
            'This node type is not installed here. The node and its settings are kept as they are; it cannot be run.'
          )}
      </p>
      {issues
        .filter(issue => issue.setting === null)
        .map(issue => (
          <div className="mf-flow-issue" key={`${issue.port}${issue.message}`}>
            <Icon name="warning" />
            <div>
              <strong>{issue.message}</strong>
              <div>{issue.fix}</div>
            </div>
          </div>
        ))}
      {run && run.status !== 'pending' && <LastRun {...{ run, changed }} />}
      <h4>{trans.__('Settings')}</h4>
      <Rename node={node} />
      <SettingsForm node={node} />
    </>
  );
}

/** How the node's run went, and what it gave. */
function LastRun(props: {
  run: INodeRun;
  changed: boolean;
}): React.JSX.Element {
  const { run } = props;
  const changed = hasEnded(run) && props.changed;
  const trans = useWords();
  const now = useNow();
  const jobId = jobOf(run);
  const job = useEditor(state =>
    jobId === null ? undefined : state.jobs.get(jobId)
  );
  // of a job at work the line above its output has newer news than what the node noted of it
  const output = job && !hasEnded(run) ? { job_id: jobId } : run.output;
  const when = ago(run.completed_at, now);
  return (
    <section className="mf-flow-lastrun">
      <h4>{trans.__('Last run')}</h4>
      <div className="mf-flow-row" data-status={run.status}>
        <span
          className="mf-flow-sign"
          data-status={changed ? undefined : run.status}
          aria-hidden="true"
        >
          {changed ? CHANGED_SIGN : NODE_SIGNS[run.status]}
        </span>
        <span>{run.status}</span>
        <span className="mf-flow-quiet">
          {[when, took(run.started_at, run.completed_at)]
            .filter(Boolean)
            .join(' · ')}
        </span>
      </div>
      {changed && (
        <p className="mf-flow-changed">
          {trans.__(
            'Changed since, or what it takes from was: the next run makes it anew.'
          )}
        </p>
      )}
      {run.status === 'running' && <p>{runLine(run, job)}</p>}
      {run.error && <pre className="mf-flow-error">{run.error}</pre>}
      {output && <OutputView output={output} />}
    </section>
  );
}

/** The node's name, by which its run, its edges and the code know it. */
function Rename(props: { node: INode }): React.JSX.Element {
  const { node } = props;
  const model = useModel();
  const trans = useWords();
  const [typed, setTyped] = React.useState(node.id);
  const [fault, setFault] = React.useState('');
  const rename = () => {
    const problem = model.rename(node.id, typed);
    setFault(problem ?? '');
  };
  return (
    <div className="mf-flow-field" data-invalid={fault !== '' || undefined}>
      <div className="mf-flow-field-head">
        <label htmlFor={`mf-flow-id-${node.id}`}>{trans.__('id')}</label>
        <small>{trans.__('its name in the graph')}</small>
      </div>
      <input
        id={`mf-flow-id-${node.id}`}
        type="text"
        spellCheck={false}
        value={typed}
        onChange={event => setTyped(event.target.value)}
        onBlur={rename}
        onKeyDown={event => {
          if (event.key === 'Enter') {
            rename();
          } else if (event.key === 'Escape') {
            setTyped(node.id);
            setFault('');
          }
        }}
      />
      {fault && <div className="mf-flow-field-issue">{fault}</div>}
    </div>
  );
}
