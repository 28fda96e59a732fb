import { ACTIVE, IJob } from './api';
import { CommandIDs } from './commandIDs';

/** Whether a job has a checkpoint to begin another one from: one after each epoch. */
function canBeForked(job: IJob): boolean {
  return job.num_folds === null && job.current_epoch > 0;
}

/** What can be asked of a job as it is now, in groups: its menu. */
export function jobMenu(job: IJob): readonly (readonly string[])[] {
  const active = ACTIVE.includes(job.status);
  // a job that waits in the queue is not at work yet, and a cross-validation is changed by its folds
  const changeable =
    active && job.status !== 'pending' && job.num_folds === null;
  return [
    job.commands.map(command => `medfusion:${command}-job`),
    changeable ? [CommandIDs.changeJob] : [],
    canBeForked(job) ? [CommandIDs.forkJob] : [],
    // a fold goes with its cross-validation alone
    active || job.fold !== null ? [] : [CommandIDs.deleteJob]
  ];
}
