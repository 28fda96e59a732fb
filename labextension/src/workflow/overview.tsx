import { useReactFlow } from '@xyflow/react';
import * as React from 'react';

import { ago } from '../format';
import { useEditor, useModel, useNow, useWords } from './context';
import { endedNodes, NODE_SIGNS, took } from './execution';
import { Icon } from './icons';
import { IIssue } from './transport';

const KEYS: readonly (readonly [string, string])[] = [
  ['Ctrl Enter', 'run'],
  ['Ctrl S', 'save'],
  ['Ctrl Z, Ctrl Shift Z', 'undo, redo'],
  ['Ctrl C, Ctrl V, Ctrl D', 'copy, paste, duplicate'],
  ['Delete', 'delete what is selected'],
  ['Shift and drag', 'select several'],
  ['double click', 'add a node there, open one'],
  ['L, F', 'lay out, show all']
];

/** The workflow as a whole: its last execution, what keeps it from being run, and the keys. */
export function Overview(): React.JSX.Element {
  const trans = useWords();
  const now = useNow();
  const name = useEditor(state => state.name);
  const graph = useEditor(state => state.graph);
  const issues = useEditor(state => state.issues);
  const execution = useEditor(state => state.execution);
  const changed = useEditor(
    state => [...state.changed].filter(id => state.runs.has(id)).length
  );
  const problems = graph.nodes.length > 0 ? issues : [];
  return (
    <>
      <header>
        <h3>{name}</h3>
      </header>
      <p className="mf-flow-quiet">
        {trans.__('nodes: %1', graph.nodes.length)} ·{' '}
        {trans.__('edges: %1', graph.edges.length)}
      </p>
      {problems.length > 0 && (
        <>
          <h4>{trans.__('To mend before it can run')}</h4>
          {problems.map((issue, k) => (
            <IssueRow key={k} issue={issue} />
          ))}
        </>
      )}
      {execution && (
        <section className="mf-flow-lastrun">
          <h4>{trans.__('Last run')}</h4>
          <div className="mf-flow-row">
            <span
              className="mf-flow-sign"
              data-status={execution.status}
              aria-hidden="true"
            >
              {NODE_SIGNS[execution.status]}
            </span>
            <span>{execution.status}</span>
            <span className="mf-flow-quiet">
              {[
                trans.__('version %1', execution.version),
                trans.__(
                  '%1 of %2 nodes',
                  endedNodes(execution),
                  execution.nodes.length
                ),
                ago(execution.completed_at, now),
                took(execution.started_at, execution.completed_at)
              ]
                .filter(Boolean)
                .join(' · ')}
            </span>
          </div>
          {changed > 0 && (
            <p className="mf-flow-changed">
              {changed === 1
                ? trans.__('1 node was changed since.')
                : trans.__('%1 nodes were changed since.', changed)}
            </p>
          )}
          {execution.error && (
            <pre className="mf-flow-error">{execution.error}</pre>
          )}
        </section>
      )}
      <h4>{trans.__('Keys')}</h4>
      <dl className="mf-flow-keys">
        {KEYS.map(([keys, what]) => (
          <React.Fragment key={keys}>
            <dt>{keys}</dt>
            <dd>{trans.__(what)}</dd>
          </React.Fragment>
        ))}
      </dl>
    </>
  );
}

/** An issue, which leads to its node when it is clicked. */
function IssueRow(props: { issue: IIssue }): React.JSX.Element {
  const { issue } = props;
  const model = useModel();
  const flow = useReactFlow();
  const show = () => {
    if (issue.node !== null) {
      model.select(new Set([issue.node]), new Set());
      void flow.fitView({
        nodes: [{ id: issue.node }],
        maxZoom: 1,
        duration: 200
      });
    }
  };
  return (
    <button className="mf-flow-issue" onClick={show}>
      <Icon name="warning" />
      <div>
        {issue.node !== null && <code>{issue.node}</code>}{' '}
        <strong>{issue.message}</strong>
        <div>{issue.fix}</div>
      </div>
    </button>
  );
}
