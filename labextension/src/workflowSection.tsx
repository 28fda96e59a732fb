import { TranslationBundle } from '@jupyterlab/translation';
import {
  ellipsesIcon,
  runIcon,
  stopIcon,
  UseSignal
} from '@jupyterlab/ui-components';
import * as React from 'react';

import { ago } from './format';
import { ProgressBar, RowButton, StatusSign } from './rowParts';
import { MoreButton, SearchBox } from './search';
import {
  IExecutionSummary,
  isActive,
  NODE_SIGNS,
  NodeStatus
} from './workflow/execution';
import { IListedWorkflow } from './workflow/workflowApi';
import { WorkflowList } from './workflowList';

interface IWorkflowsProps {
  list: WorkflowList;
  trans: TranslationBundle;
  /** Open one in the editor. */
  open: (id: number) => void;
  create: () => void;
  ask: (command: 'run' | 'stop', id: number) => void;
  /** Open the menu of what else can be asked of a workflow, below the button that was clicked. */
  openMenu: (workflow: IListedWorkflow, button: HTMLElement) => void;
}

/** The section of stored workflows. */
export function Workflows(props: IWorkflowsProps): React.JSX.Element {
  const { list, trans } = props;
  return (
    <UseSignal signal={list.changed}>
      {() => (
        <>
          <div className="jp-MedFusion-tools">
            <SearchBox
              value={list.search}
              label={trans.__('Search workflows')}
              trans={trans}
              find={words => list.find(words)}
            />
            <button className="jp-MedFusion-textButton" onClick={props.create}>
              {trans.__('New')}
            </button>
          </div>
          {list.trouble && (
            <div className="jp-MedFusion-trouble" role="status">
              {list.trouble}
            </div>
          )}
          <ul
            className="jp-MedFusion-list"
            role="list"
            aria-label={trans.__('Workflows')}
          >
            {list.items.map(one => (
              <Row key={one.id} workflow={one} {...props} />
            ))}
          </ul>
          {list.loaded && list.items.length === 0 && (
            <div className="jp-MedFusion-empty">
              {list.search
                ? trans.__('No workflow is like that.')
                : trans.__('No workflows yet: a study as a graph.')}
            </div>
          )}
          {list.more && (
            <MoreButton trans={trans} more={() => list.showMore()} />
          )}
        </>
      )}
    </UseSignal>
  );
}

/** A workflow and how its newest execution stands. */
function Row(
  props: IWorkflowsProps & { workflow: IListedWorkflow }
): React.JSX.Element {
  const { workflow, trans, list } = props;
  const { id, name, last_execution: execution } = workflow;
  return (
    <li
      className="jp-MedFusion-row"
      data-workflow-id={id}
      data-status={execution?.status}
    >
      <div className="jp-MedFusion-line">
        {execution ? (
          <StatusSign
            status={execution.status}
            sign={NODE_SIGNS[execution.status]}
          />
        ) : (
          <span className="jp-MedFusion-sign" />
        )}
        <button
          className="jp-MedFusion-name"
          title={workflow.description || name}
          onClick={() => props.open(id)}
        >
          {name}
        </button>
        <Buttons {...props} />
      </div>
      <div className="jp-MedFusion-line jp-MedFusion-indented">
        <span
          className="jp-MedFusion-words jp-MedFusion-state"
          title={execution?.error ?? undefined}
        >
          {words(workflow, list, trans)}
        </span>
        <span className="jp-MedFusion-quiet">v{workflow.version}</span>
      </div>
      {execution?.status === 'running' && (
        <ProgressBar
          value={ended(execution) / Math.max(1, nodesOf(execution))}
          label={trans.__('Progress of %1', name)}
        />
      )}
    </li>
  );
}

function Buttons(
  props: IWorkflowsProps & { workflow: IListedWorkflow }
): React.JSX.Element {
  const { workflow, trans, list, ask, openMenu } = props;
  const { id, name, last_execution: execution } = workflow;
  const active = isActive(execution);
  const runs =
    execution && !active && execution.status !== 'completed'
      ? trans.__('Go on with %1 in a kernel of its own', name)
      : trans.__('Run %1 in a kernel of its own', name);
  return (
    <>
      <RowButton
        command={active ? 'stop' : 'run'}
        icon={active ? stopIcon : runIcon}
        label={active ? trans.__('Stop %1', name) : runs}
        disabled={list.asked(id) !== undefined}
        onClick={() => ask(active ? 'stop' : 'run', id)}
      />
      <RowButton
        command="menu"
        icon={ellipsesIcon}
        label={trans.__('More for %1', name)}
        opensMenu
        onClick={button => openMenu(workflow, button)}
      />
    </>
  );
}

/** How a workflow stands, in one line: what its newest execution does, or how and when it ended. */
function words(
  workflow: IListedWorkflow,
  list: WorkflowList,
  trans: TranslationBundle
): string {
  const asked = list.asked(workflow.id);
  if (asked) {
    return asked === 'run' ? trans.__('starting…') : trans.__('stopping…');
  }
  const { last_execution: execution } = workflow;
  if (execution === null) {
    const count = workflow.nodes.length;
    return trans._n('%1 node', '%1 nodes', count);
  }
  const all = nodesOf(execution);
  switch (execution.status) {
    case 'pending':
      return trans.__('waits for its turn');
    case 'running':
      return trans.__('%1 of %2 nodes done', ended(execution), all);
    case 'completed':
      return `${trans._n('%1 node', '%1 nodes', all)} · ${ago(execution.completed_at, list.now)}`;
    case 'failed':
      return execution.error ?? execution.status;
    default:
      return `${execution.status} · ${trans.__('%1 of %2 done', good(execution), all)} · ${ago(execution.completed_at, list.now)}`;
  }
}

function nodesOf(execution: IExecutionSummary): number {
  return count(execution, () => true);
}

function ended(execution: IExecutionSummary): number {
  return count(
    execution,
    status => status !== 'pending' && status !== 'running'
  );
}

function good(execution: IExecutionSummary): number {
  return count(
    execution,
    status => status === 'completed' || status === 'cached'
  );
}

function count(
  execution: IExecutionSummary,
  which: (status: NodeStatus) => boolean
): number {
  return Object.entries(execution.nodes)
    .filter(([status]) => which(status as NodeStatus))
    .reduce((sum, [, number]) => sum + number, 0);
}
