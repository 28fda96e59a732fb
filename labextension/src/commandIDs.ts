/** The commands that JupyterLab knows, for its palette, its menus and other extensions. */
export namespace CommandIDs {
  export const openPanel = 'medfusion:open-panel';
  export const refresh = 'medfusion:refresh';

  export const pauseJob = 'medfusion:pause-job';
  export const resumeJob = 'medfusion:resume-job';
  export const stopJob = 'medfusion:stop-job';
  export const checkpointJob = 'medfusion:checkpoint-job';
  export const changeJob = 'medfusion:change-job';
  export const forkJob = 'medfusion:fork-job';
  export const deleteJob = 'medfusion:delete-job';

  export const deleteModel = 'medfusion:delete-model';

  export const newWorkflow = 'medfusion:new-workflow';
  export const openWorkflow = 'medfusion:open-workflow';
  export const runWorkflow = 'medfusion:run-workflow';
  export const stopWorkflow = 'medfusion:stop-workflow';
  export const deleteWorkflow = 'medfusion:delete-workflow';
}
