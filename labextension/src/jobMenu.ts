import { CommandRegistry } from '@lumino/commands';
import { Menu } from '@lumino/widgets';

import { ACTIVE, IJob } from './api';

/** Whether a job has a checkpoint to begin another one from: one after each epoch. */
function canBeForked(job: IJob): boolean {
  return job.num_folds === null && job.current_epoch > 0;
}

/** Whether there is anything in the menu of a job. */
export function hasMenu(job: IJob): boolean {
  return job.commands.length > 0 || canBeForked(job);
}

/** Open what can be asked of a job as a menu below a button. */
export function openJobMenu(
  commands: CommandRegistry,
  job: IJob,
  button: HTMLElement
): void {
  const menu = new Menu({ commands });
  const add = (command: string) =>
    menu.addItem({ command, args: { job_id: job.job_id, short: true } });
  for (const command of job.commands) {
    add(`medfusion:${command}-job`);
  }
  // a job that waits in the queue is not at work yet, and a cross-validation is changed by its folds
  const changeable = ACTIVE.includes(job.status) && job.status !== 'pending';
  if (changeable && job.num_folds === null) {
    menu.addItem({ type: 'separator' });
    add('medfusion:change-job');
  }
  if (canBeForked(job)) {
    menu.addItem({ type: 'separator' });
    add('medfusion:fork-job');
  }
  menu.aboutToClose.connect(() => button.focus());
  const place = button.getBoundingClientRect();
  menu.open(place.left, place.bottom);
}
