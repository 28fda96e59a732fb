import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { RefusedError } from './refused';
import type { ISchema } from './workflow/settingsSchema';

export type Status =
  | 'pending'
  | 'initializing'
  | 'running'
  | 'paused'
  | 'completed'
  | 'failed'
  | 'stopped'
  | 'interrupted';

export const STATUSES: readonly Status[] = [
  'pending',
  'initializing',
  'running',
  'paused',
  'completed',
  'failed',
  'stopped',
  'interrupted'
];

/** Of a job that has not ended. */
export const ACTIVE: readonly Status[] = STATUSES.slice(0, 4);

export type Command = 'pause' | 'resume' | 'stop' | 'checkpoint';

/** Settings of a run that may be changed while it goes on; a `patience` of null never ends it early. */
export interface IChanges {
  lr?: number;
  encoder_lr?: number;
  epochs?: number;
  patience?: number | null;
  unfreeze?: string[] | 'all';
}

/** The settings of a job that the form of changes begins with. */
export interface IJobSettings {
  lr?: number;
  encoder_lr?: number | null;
  epochs?: number;
  patience?: number | null;
  freeze?: string[];
  unfreeze?: string[];
}

/** A checkpoint of a job: epochs and steps that were finished by then. */
export interface ICheckpoint {
  epoch: number;
  step: number;
  metrics: { [name: string]: number | null };
  is_best: boolean;
}

/** What a fork of a job may begin from, what its parent is trained with, and what may be changed. */
export interface IForkForm {
  checkpoints: ICheckpoint[];
  settings: { [name: string]: unknown };
  schema: ISchema;
}

/** A fork to queue; config: settings that differ from the parent's. */
export interface INewFork {
  epoch?: number;
  step?: number;
  name?: string;
  config: { [name: string]: unknown };
}

/** A training job as the server gives it. Times are ISO 8601 in UTC, lengths of time seconds, progress 0 to 1. */
export interface IJob {
  job_id: string;
  name: string;
  status: Status;
  progress: number;
  current_epoch: number;
  total_epochs: number;
  current_metrics: { [name: string]: number | null };
  watched_metric: string;
  best_epoch: number | null;
  best_value: number | null;
  error: string | null;
  model_config: { [name: string]: string | null };
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
  duration: number | null;
  seconds_left: number | null;
  device: string | null;
  host: string | null;
  dataset_fingerprint: string | null;
  created_by: string | null;
  /** Of a job that waits in the queue: the highest is launched first. */
  priority: number;
  not_before: string | null;
  launched_at: string | null;
  parent_job_id: string | null;
  /** Of a fold of the cross-validation `parent_job_id`: its number from 1. */
  fold: number | null;
  /** Of a cross-validation: how many folds it has, and how many are completed. */
  num_folds: number | null;
  folds_done: number | null;
  commands: Command[];
}

/** A trained model as the server gives it. */
export interface IModel {
  id: number;
  name: string;
  version: number;
  metrics: { [name: string]: number | null };
  training_job_id: string | null;
  created_at: string;
}

export interface IPage<Item> {
  items: Item[];
  next: string | null;
}

export interface IJobPage extends IPage<IJob> {
  counts: { [status: string]: number };
}

/** The server's REST interface. */
export class Api {
  constructor(readonly settings: ServerConnection.ISettings) {}

  /** Jobs; a cross-validation is one, without its folds. */
  jobs(query: {
    status: string;
    search: string;
    limit: number;
  }): Promise<IJobPage> {
    return this._request(
      'training/list' +
        URLExt.objectToQueryString({
          ...query,
          limit: String(query.limit),
          folds: 'false'
        })
    );
  }

  /** The folds of a cross-validation, in order. */
  async folds(jobId: string): Promise<IJob[]> {
    const page: IJobPage = await this._request(
      'training/list' +
        URLExt.objectToQueryString({ parent_job_id: jobId, limit: '500' })
    );
    return page.items
      .filter(job => job.fold !== null)
      .sort((one, other) => (one.fold ?? 0) - (other.fold ?? 0));
  }

  command(command: Command, jobId: string): Promise<IJob> {
    return this._request(`training/${command}/${jobId}`, { method: 'POST' });
  }

  /** What the job is trained with now. */
  async settingsOf(jobId: string): Promise<IJobSettings> {
    const job: { training_config: IJobSettings } = await this._request(
      `training/status/${jobId}`
    );
    return job.training_config;
  }

  /** Change settings of a run; they hold from its next step on. */
  change(jobId: string, changes: IChanges): Promise<IJob> {
    return this._request(`training/${jobId}`, {
      method: 'PATCH',
      body: JSON.stringify(changes)
    });
  }

  /** What a fork of a job may begin from and change. */
  forkForm(jobId: string): Promise<IForkForm> {
    return this._request(`training/${jobId}/fork`);
  }

  /** Queue a job that begins from a checkpoint of this one. */
  fork(jobId: string, fork: INewFork): Promise<IJob> {
    return this._request(`training/${jobId}/fork`, {
      method: 'POST',
      body: JSON.stringify(fork)
    });
  }

  series(
    jobId: string,
    name: string,
    points: number
  ): Promise<{ steps: number[]; values: (number | null)[] }> {
    return this._request(
      `training/${jobId}/metrics` +
        URLExt.objectToQueryString({ name, points: String(points) })
    );
  }

  /** Models, without those of folds that have no alias. */
  models(query: { search: string; limit: number }): Promise<IPage<IModel>> {
    return this._request(
      'models' +
        URLExt.objectToQueryString({
          ...query,
          limit: String(query.limit),
          folds: 'false'
        })
    );
  }

  deleteJob(jobId: string): Promise<void> {
    return this._request(`training/${jobId}`, { method: 'DELETE' });
  }

  deleteModel(id: number): Promise<void> {
    return this._request(`models/${id}`, { method: 'DELETE' });
  }

  private _request<Answer>(path: string, init?: RequestInit): Promise<Answer> {
    return request(this.settings, path, init);
  }
}

/** Ask the server's REST interface. What it refuses is a RefusedError with its words. */
export async function request<Answer>(
  settings: ServerConnection.ISettings,
  path: string,
  init: RequestInit = {}
): Promise<Answer> {
  const url = URLExt.join(settings.baseUrl, 'medfusion/api', path);
  const response = await ServerConnection.makeRequest(url, init, settings);
  const body = await response.json().catch(() => null);
  if (!response.ok) {
    throw new RefusedError(
      response.status,
      body?.message ?? response.statusText
    );
  }
  return body;
}
