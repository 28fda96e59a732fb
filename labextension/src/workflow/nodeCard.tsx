import { Handle, NodeProps, Position, useConnection } from '@xyflow/react';
import * as React from 'react';

import { IPort, UNKNOWN_PORT } from './catalogue';
import { edgeBetween, IPortPlace } from './connection';
import { useEditor, useModel, useWords } from './context';
import {
  CHANGED_SIGN,
  hasEnded,
  INodeJob,
  INodeRun,
  jobOf,
  NODE_SIGNS,
  progressOf,
  runLine
} from './execution';
import { EditorModel } from './editorModel';
import { FlowNode } from './flowNodes';
import { freshId, nodeOf } from './graph';
import { familyIcon, Icon } from './icons';
import { summary } from './settingsSchema';
import { IIssue } from './transport';

const NO_ISSUES: readonly IIssue[] = [];

/** One node on the canvas: what it is, how it is set, its ports, what is wrong with it, and how its run goes. */
export const NodeCard = React.memo(function NodeCard({
  id,
  data,
  selected
}: NodeProps<FlowNode>): React.JSX.Element {
  const trans = useWords();
  const { inputs, outputs } = data;
  const type = useEditor(state => state.catalogue.get(data.type));
  const settings = useEditor(state => nodeOf(state.graph, id)?.settings);
  const issues = useEditor(state => state.issuesOf.get(id) ?? NO_ISSUES);
  const run = useEditor(state => state.runs.get(id));
  const job = useEditor(state => {
    const jobId = run && jobOf(run);
    return jobId ? state.jobs.get(jobId) : undefined;
  });
  const isChanged = useEditor(state => state.changed.has(id));
  const changed = run !== undefined && hasEnded(run) && isChanged;
  const fields = useEditor(state => state.catalogue.fields(data.type));
  const line = React.useMemo(
    () => summary(settings ?? {}, fields),
    [settings, fields]
  );
  // what the title says already leaves no room for what is set
  const named = line === '' || id !== freshId([], data.type);
  const first = issues[0];
  return (
    <div
      className="mf-flow-node"
      data-node-id={id}
      data-status={run?.status}
      data-changed={changed || undefined}
      data-selected={selected || undefined}
      data-invalid={issues.length > 0 || undefined}
      data-unknown={type === undefined || undefined}
    >
      <div className="mf-flow-node-head">
        <Icon name={type ? familyIcon(type.family, type.name) : 'warning'} />
        <span className="mf-flow-node-title">
          {type?.title ?? trans.__('Unknown: %1', data.type)}
        </span>
        {run && <Sign run={run} changed={changed} />}
      </div>
      <div
        className="mf-flow-node-line"
        title={[id, line].filter(Boolean).join(' · ')}
      >
        {named && <span className="mf-flow-node-id">{id}</span>}
        {named && line !== '' && ' · '}
        {line}
      </div>
      <div className="mf-flow-ports">
        <Ports node={id} side="inputs" ports={inputs} {...{ data, issues }} />
        <Ports node={id} side="outputs" ports={outputs} {...{ data, issues }} />
      </div>
      {first && (
        <div
          className="mf-flow-node-foot mf-flow-node-issue"
          title={issues.map(one => `${one.message} ${one.fix}`).join('\n')}
        >
          <Icon name="warning" />
          <span>{first.message}</span>
          {issues.length > 1 && <small>+{issues.length - 1}</small>}
        </div>
      )}
      {run && !first && <RunLine {...{ run, job, changed }} />}
    </div>
  );
});

/** A line that goes on in the next before an interval, such as `[0.71, 0.89]`, and not within it. */
function unbroken(line: string): string {
  return line.replace(/\[.*?\]/g, interval => interval.replace(/ /g, '\u00a0'));
}

function Sign(props: { run: INodeRun; changed: boolean }): React.JSX.Element {
  const trans = useWords();
  const { run, changed } = props;
  const words = changed
    ? trans.__('%1, changed since', run.status)
    : run.status;
  return (
    <span
      className="mf-flow-sign"
      data-status={changed ? undefined : run.status}
      role="img"
      aria-label={words}
      title={words}
    >
      {changed ? CHANGED_SIGN : NODE_SIGNS[run.status]}
    </span>
  );
}

function RunLine(props: {
  run: INodeRun;
  job: INodeJob | undefined;
  changed: boolean;
}): React.JSX.Element | null {
  const { run, job, changed } = props;
  if (run.status === 'pending') {
    return null;
  }
  const words = runLine(run, job, changed);
  const progress = run.status === 'running' ? progressOf(run, job) : null;
  return (
    <div className="mf-flow-node-foot">
      <div
        className="mf-flow-node-run"
        data-status={changed ? undefined : run.status}
        title={words}
      >
        {unbroken(words)}
      </div>
      {run.status === 'running' && (
        <div
          className="mf-flow-track"
          role="progressbar"
          aria-valuenow={
            progress === null ? undefined : Math.round(progress * 100)
          }
          data-unknown={progress === null || undefined}
        >
          <div style={{ width: `${(progress ?? 1) * 100}%` }} />
        </div>
      )}
    </div>
  );
}

function Ports(props: {
  node: string;
  side: IPortPlace['side'];
  ports: readonly IPort[];
  data: FlowNode['data'];
  issues: readonly IIssue[];
}): React.JSX.Element {
  return (
    <div className="mf-flow-ports-side" data-side={props.side}>
      {props.ports.map(port => (
        <Port
          key={port.name}
          place={{ node: props.node, port: port.name, side: props.side }}
          port={port}
          connected={props.data.connected.includes(
            `${props.side} ${port.name}`
          )}
          issue={props.issues.find(issue => issue.port === port.name)}
        />
      ))}
    </div>
  );
}

function Port(props: {
  place: IPortPlace;
  port: IPort;
  connected: boolean;
  issue: IIssue | undefined;
}): React.JSX.Element {
  const trans = useWords();
  const { place, port, issue } = props;
  const fit = useFit(place, port.type);
  const input = place.side === 'inputs';
  const unknown = port.type === UNKNOWN_PORT;
  const type = unknown ? trans.__('not known here') : port.type;
  const optional =
    input && port.required === false ? trans.__(' (optional)') : '';
  const about = [
    `${port.name}: ${type}${optional}`,
    port.help,
    issue ? `${issue.message} ${issue.fix}` : ''
  ];
  return (
    <div
      className="mf-flow-port"
      data-port={port.name}
      data-type={port.type}
      data-fit={fit}
      data-optional={(input && port.required === false) || undefined}
      data-connected={props.connected || undefined}
      data-invalid={issue !== undefined || undefined}
      title={about.filter(Boolean).join('\n')}
    >
      <Handle
        id={port.name}
        type={input ? 'target' : 'source'}
        position={input ? Position.Left : Position.Right}
        isConnectable={!unknown}
      />
      <span>{port.name}</span>
    </div>
  );
}

function portOf(model: EditorModel, end: IPortPlace): IPort | undefined {
  const { graph, catalogue } = model.state;
  return catalogue.port(graph, end.node, end.side, end.port);
}

/** While an edge is drawn: whether it may lead to this port; undefined where none is drawn. */
function useFit(
  place: IPortPlace,
  type: string
): 'from' | 'yes' | 'no' | undefined {
  const model = useModel();
  // as text, so that a card is drawn anew only when an edge begins and ends, not at each move of the mouse
  const from = useConnection(({ fromHandle }) =>
    fromHandle
      ? JSON.stringify({
          node: fromHandle.nodeId,
          port: fromHandle.id,
          side: fromHandle.type === 'source' ? 'outputs' : 'inputs'
        })
      : null
  );
  const { node, port, side } = place;
  return React.useMemo(() => {
    if (from === null) {
      return undefined;
    }
    const end = JSON.parse(from) as IPortPlace;
    if (end.node === node && end.port === port && end.side === side) {
      return 'from';
    }
    if (portOf(model, end)?.type !== type) {
      return 'no';
    }
    const edge = edgeBetween(end, { node, port, side });
    return edge && model.connectionProblem(edge) === null ? 'yes' : 'no';
  }, [from, model, node, port, side, type]);
}
