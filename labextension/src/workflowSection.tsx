import { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ago } from './format';
import { MoreButton, SearchBox } from './search';
import { IStoredWorkflow } from './workflow/workflowApi';
import { WorkflowList } from './workflowList';

interface IWorkflowsProps {
  list: WorkflowList;
  trans: TranslationBundle;
  /** Open one in the editor. */
  open: (id: number) => void;
  create: () => void;
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

function Row(
  props: IWorkflowsProps & { workflow: IStoredWorkflow }
): React.JSX.Element {
  const { workflow, trans, list } = props;
  const ran = workflow.last_executed_at;
  return (
    <li className="jp-MedFusion-row" data-workflow-id={workflow.id}>
      <div className="jp-MedFusion-line">
        <button
          className="jp-MedFusion-name"
          title={workflow.description || workflow.name}
          onClick={() => props.open(workflow.id)}
        >
          {workflow.name}
        </button>
        <span className="jp-MedFusion-quiet">
          {trans.__('version %1', workflow.version)}
        </span>
      </div>
      <div className="jp-MedFusion-line">
        <span className="jp-MedFusion-words">
          {trans._n('%1 node', '%1 nodes', workflow.nodes.length)}
          {ran !== null && ` · ${trans.__('run %1', ago(ran, list.now))}`}
        </span>
      </div>
    </li>
  );
}
