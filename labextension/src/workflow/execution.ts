import { IJob } from '../api';
import { metricName, number, span } from '../format';

export type NodeStatus =
  | 'pending'
  | 'running'
  | 'completed'
  | 'cached'
  | 'failed'
  | 'stopped'
  | 'skipped'
  | 'interrupted';

export type ExecutionStatus = Exclude<NodeStatus, 'cached' | 'skipped'>;

/** One node of an execution. output: what the node noted of itself, and its `preview`. Times are ISO 8601 in UTC. */
export interface INodeRun {
  readonly node_id: string;
  readonly status: NodeStatus;
  readonly output: { readonly [name: string]: unknown } | null;
  readonly error: string | null;
  readonly started_at: string | null;
  readonly completed_at: string | null;
}

/** One execution of a workflow with its nodes. */
export interface IExecution {
  readonly id: number;
  readonly workflow_id: number;
  readonly version: number;
  readonly status: ExecutionStatus;
  readonly error: string | null;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly completed_at: string | null;
  /** When somebody asked it to stop. */
  readonly stop_requested_at: string | null;
  readonly nodes: readonly INodeRun[];
}

/** An execution in few words. nodes: how many of its nodes are in each status. */
export interface IExecutionSummary {
  readonly id: number;
  readonly status: ExecutionStatus;
  readonly error: string | null;
  readonly started_at: string | null;
  readonly completed_at: string | null;
  readonly nodes: { readonly [status in NodeStatus]?: number };
}

/** What a node shows of the job that it waits for. */
export type INodeJob = Pick<
  IJob,
  | 'job_id'
  | 'status'
  | 'progress'
  | 'current_epoch'
  | 'total_epochs'
  | 'watched_metric'
  | 'current_metrics'
  | 'seconds_left'
>;

/** Colour is never the only sign. */
export const NODE_SIGNS: { readonly [status in NodeStatus]: string } = {
  pending: '○',
  running: '●',
  completed: '✓',
  cached: '⚡︎',
  failed: '✕',
  stopped: '■',
  skipped: '–',
  interrupted: '◌'
};

/** Of a node that was changed since its run. */
export const CHANGED_SIGN = '△';

/** Whether it waits or is at work. */
export function isActive(
  execution: Pick<IExecution, 'status'> | null
): boolean {
  return execution?.status === 'pending' || execution?.status === 'running';
}

/** Whether it was asked to stop and a node is still at work, which may not look at that. */
export function isStopping(execution: IExecution | null): boolean {
  return isActive(execution) && execution?.stop_requested_at !== null;
}

/** An execution whose process is gone, as the store will have it. */
export function interrupted(execution: IExecution): IExecution {
  const status = 'interrupted' as const;
  return isActive(execution)
    ? {
        ...execution,
        status,
        nodes: execution.nodes.map(run =>
          run.status === 'pending' || run.status === 'running'
            ? { ...run, status }
            : run
        )
      }
    : execution;
}

/** The job that a node's run waits for or left, by its id. */
export function jobOf(run: INodeRun): string | null {
  const id = run.output?.job_id;
  return typeof id === 'string' ? id : null;
}

/** How far a running node is, 0 to 1; null where that is not known. */
export function progressOf(
  run: INodeRun,
  job: INodeJob | undefined
): number | null {
  const noted = run.output?.progress;
  return job?.progress ?? (typeof noted === 'number' ? noted : null);
}

/** Whether a node's run has ended, so that what was changed since is not in what it gave. */
export function hasEnded(run: INodeRun): boolean {
  return run.status !== 'pending' && run.status !== 'running';
}

/**
 * A running or ended node in one line: the watched metric, its epoch, the time that is left or that it took. changed: since
 * that run, so that it is the line of a node that was.
 */
export function runLine(
  run: INodeRun,
  job: INodeJob | undefined,
  changed = false
): string {
  if (changed) {
    const before = run.status === 'failed' ? 'it failed' : headline(run);
    return ['changed since', before].filter(Boolean).join(' · ');
  }
  if (run.status === 'running') {
    return job ? jobLine(job) : 'running';
  }
  if (run.status === 'failed' || run.status === 'skipped') {
    return run.error ?? run.status;
  }
  if (run.status === 'completed' || run.status === 'cached') {
    const time =
      run.status === 'cached'
        ? 'cached'
        : took(run.started_at, run.completed_at);
    return [headline(run), time].filter(Boolean).join(' · ');
  }
  return run.status;
}

/** How long something took, in words; empty where it has not ended. */
export function took(from: string | null, to: string | null): string {
  if (from === null || to === null) {
    return '';
  }
  const seconds = (Date.parse(to) - Date.parse(from)) / 1000;
  if (seconds < 0.05) {
    return '< 0.1 s';
  }
  return seconds < 0.95 ? `${seconds.toFixed(1)} s` : span(seconds);
}

/** How many nodes of an execution have ended. */
export function endedNodes(execution: IExecution): number {
  return execution.nodes.filter(hasEnded).length;
}

function jobLine(job: INodeJob): string {
  const value = job.current_metrics[job.watched_metric];
  return [
    typeof value === 'number'
      ? `${metricName(job.watched_metric)} ${number(value)}`
      : '',
    `epoch ${job.current_epoch}/${job.total_epochs}`,
    job.seconds_left === null ? '' : `${span(job.seconds_left)} left`
  ]
    .filter(Boolean)
    .join(' · ');
}

/** What a node's output is remembered by: its metric with its interval, or its number of rows. */
function headline(run: INodeRun): string {
  const output = run.output ?? {};
  const auroc = output.auroc as { [name: string]: unknown } | undefined;
  if (typeof auroc?.value === 'number') {
    const { value, low, high } = auroc;
    const interval =
      typeof low === 'number' && typeof high === 'number'
        ? ` [${low.toFixed(2)}, ${high.toFixed(2)}]`
        : '';
    return `AUROC ${number(value)}${interval}`;
  }
  if (typeof output.metric === 'string' && typeof output.value === 'number') {
    return `${metricName(output.metric)} ${number(output.value)}`;
  }
  if (typeof output.rows === 'number') {
    return `${output.rows.toLocaleString('en')} rows`;
  }
  const parts = ['train', 'val', 'test'].map(name => output[name]);
  return parts.every(part => typeof part === 'number') ? parts.join(' / ') : '';
}
