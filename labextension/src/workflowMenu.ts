import { CommandIDs } from './commandIDs';
import { isActive } from './workflow/execution';
import { IListedWorkflow } from './workflow/workflowApi';

/** What can be asked of a stored workflow as it is now, in groups: its menu. */
export function workflowMenu(
  workflow: IListedWorkflow
): readonly (readonly string[])[] {
  return isActive(workflow.last_execution)
    ? [[CommandIDs.stopWorkflow], [CommandIDs.openWorkflow]]
    : [
        [CommandIDs.runWorkflow],
        [CommandIDs.openWorkflow],
        [CommandIDs.deleteWorkflow]
      ];
}
