/** The REST API of the server extension, typed. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type {
  IJob,
  IJobPage,
  IModel,
  IPage,
  ISeries,
  JobCommand,
  JobStatus
} from './records';

export const API_PATH = 'medfusion/api';

/** What the panel asks of the server; tests put their own in its place. */
export interface IApi {
  jobs(query: Api.IJobQuery): Promise<IJobPage>;
  models(query: Api.IQuery): Promise<IPage<IModel>>;
  command(jobId: string, command: JobCommand): Promise<IJob>;
  series(jobId: string, name: string, points: number): Promise<ISeries>;
}

/** An answer that is an error; the message is the server's own, for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export class Api implements IApi {
  constructor(private readonly _settings: ServerConnection.ISettings) {}

  jobs(query: Api.IJobQuery): Promise<IJobPage> {
    return this._request(`training/list${queryString({ ...query })}`);
  }

  models(query: Api.IQuery): Promise<IPage<IModel>> {
    return this._request(`models${queryString({ ...query })}`);
  }

  command(jobId: string, command: JobCommand): Promise<IJob> {
    const path = `training/${command}/${encodeURIComponent(jobId)}`;
    return this._request(path, { method: 'POST' });
  }

  series(jobId: string, name: string, points: number): Promise<ISeries> {
    const path = `training/${encodeURIComponent(jobId)}/metrics`;
    return this._request(`${path}${queryString({ name, points })}`);
  }

  private async _request<T>(path: string, init: RequestInit = {}): Promise<T> {
    const url = URLExt.join(this._settings.baseUrl, API_PATH, path);
    const response = await ServerConnection.makeRequest(
      url,
      init,
      this._settings
    );
    const text = await response.text();
    const body = parse(text);
    if (!response.ok) {
      const told = (body ?? {}) as { code?: unknown; message?: unknown };
      throw new ApiError(
        response.status,
        typeof told.code === 'string' ? told.code : 'error',
        typeof told.message === 'string' && told.message
          ? told.message
          : `${response.status} ${response.statusText}`
      );
    }
    if (body === undefined) {
      // a login page of a proxy comes with 200 too
      throw new ApiError(
        response.status,
        'no-json',
        'The server sent no JSON. Reload the page and log in again.'
      );
    }
    return body as T;
  }
}

export namespace Api {
  export interface IQuery {
    search?: string;
    limit?: number;
    cursor?: string;
  }

  export interface IJobQuery extends IQuery {
    status?: JobStatus | '';
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function queryString(query: Record<string, string | number | undefined>) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== undefined && value !== ''
  );
  const pairs = given.map(([key, value]) => [key, String(value)]);
  return pairs.length
    ? URLExt.objectToQueryString(Object.fromEntries(pairs))
    : '';
}
