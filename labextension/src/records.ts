/** What the server sends: jobs, models, pages of them, and the messages of its feed. */

export const JOB_STATUSES = [
  'pending',
  'initializing',
  'running',
  'paused',
  'completed',
  'failed',
  'stopped',
  'interrupted'
] as const;

export type JobStatus = (typeof JOB_STATUSES)[number];

export type JobCommand = 'pause' | 'resume' | 'stop';

/** A number, or `[value, low, high]` where an interval comes with it. */
export type MetricValue = number | null | (number | null)[];

export interface IJob {
  job_id: string;
  name: string;
  description: string;
  status: JobStatus;
  /** 0 to 1 */
  progress: number;
  /** The epoch at work, from 1; 0 before the first. */
  current_epoch: number;
  total_epochs: number;
  current_step: number;
  total_steps: number | null;
  current_metrics: Record<string, number | null>;
  watched_metric: string;
  best_epoch: number | null;
  best_value: number | null;
  error: string | null;
  model_config: Record<string, unknown>;
  training_config: Record<string, unknown>;
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
  heartbeat_at: string | null;
  /** seconds */
  duration: number | null;
  checkpoint_path: string | null;
  parent_job_id: string | null;
  host: string | null;
  device: string | null;
  samples_per_second: number | null;
  seconds_left: number | null;
  commands: JobCommand[];
}

export interface IModel {
  id: number;
  name: string;
  version: number;
  description: string;
  accuracy: number | null;
  metrics: Record<string, MetricValue>;
  training_job_id: string | null;
  trained_epochs: number | null;
  created_at: string;
  tags: string[];
}

export type Counts = Partial<Record<JobStatus, number>>;

export interface IPage<T> {
  items: T[];
  /** The cursor of the page after this one. */
  next: string | null;
}

export interface IJobPage extends IPage<IJob> {
  counts: Counts;
}

export interface ISeries {
  name: string;
  steps: number[];
  values: (number | null)[];
}

export interface IHello {
  type: 'hello';
  /** The id of the newest event. */
  last: number;
}

export interface IEvent {
  type: 'event';
  id: number;
  kind: string;
  entity: string;
  entity_id: string;
  data: Record<string, unknown>;
}

export interface IProgress {
  type: 'progress';
  job: IJob;
}

export type FeedMessage = IHello | IEvent | IProgress;
