import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { IJob, IPage, request } from '../api';
import { INodeType } from './catalogue';
import { IExecution, IExecutionSummary } from './execution';
import { IGraphJson } from './graph';
import {
  IDifference,
  IIssue,
  ITemplate,
  IVersion,
  IWorkflow
} from './transport';

/** A workflow as the server gives it. */
export interface IStoredWorkflow extends IWorkflow {
  readonly id: number;
  readonly description: string;
  readonly version: number;
  readonly updated_at: string;
  readonly execution_count: number;
  readonly last_executed_at: string | null;
}

/** A workflow among others. */
export interface IListedWorkflow extends IStoredWorkflow {
  /** Its newest execution; null where it was never executed. */
  readonly last_execution: IExecutionSummary | null;
}

/** The server's REST interface to workflows. */
export class WorkflowApi {
  constructor(readonly settings: ServerConnection.ISettings) {}

  async nodeTypes(): Promise<INodeType[]> {
    return (await this._get<{ items: INodeType[] }>('nodes')).items;
  }

  async templates(): Promise<ITemplate[]> {
    return (await this._get<{ items: ITemplate[] }>('templates')).items;
  }

  list(query: {
    search: string;
    limit: number;
  }): Promise<IPage<IListedWorkflow>> {
    const { search, limit } = query;
    return this._get(
      URLExt.objectToQueryString({ search, limit: String(limit) })
    );
  }

  /** The workflow of exactly that name; null where there is none. */
  async named(name: string): Promise<IStoredWorkflow | null> {
    const page = await this.list({ search: name, limit: 500 });
    return page.items.find(one => one.name === name) ?? null;
  }

  get(id: number): Promise<IStoredWorkflow> {
    return this._get(`${id}`);
  }

  create(name: string, graph: IGraphJson): Promise<IStoredWorkflow> {
    return this._send('POST', '', { name, ...graph });
  }

  save(
    id: number,
    version: number,
    graph: IGraphJson
  ): Promise<IStoredWorkflow> {
    return this._send('PUT', `${id}`, { version, ...graph });
  }

  delete(id: number): Promise<void> {
    return this._send('DELETE', `${id}`);
  }

  async validate(graph: IGraphJson): Promise<IIssue[]> {
    const found: { issues: IIssue[] } = await this._send(
      'POST',
      'validate',
      graph
    );
    return found.issues;
  }

  async versions(id: number): Promise<IVersion[]> {
    return (await this._get<{ items: IVersion[] }>(`${id}/versions`)).items;
  }

  version(id: number, version: number): Promise<IVersion> {
    return this._get(`${id}/versions/${version}`);
  }

  difference(id: number, before: number, after: number): Promise<IDifference> {
    return this._get(`${id}/versions/${before}/diff/${after}`);
  }

  restore(id: number, version: number): Promise<IStoredWorkflow> {
    return this._send('POST', `${id}/versions/${version}/restore`);
  }

  /** Queue an execution, which a kernel of its own runs. */
  async execute(id: number): Promise<IExecution> {
    const made: { id: number } = await this._send('POST', `${id}/execute`);
    return this.execution(made.id);
  }

  execution(id: number): Promise<IExecution> {
    return this._get(`executions/${id}`);
  }

  async lastExecution(id: number): Promise<IExecution | null> {
    const page: IPage<{ id: number }> = await this._get(
      `${id}/executions?limit=1`
    );
    const newest = page.items[0];
    return newest ? this.execution(newest.id) : null;
  }

  stop(executionId: number): Promise<void> {
    return this._send('POST', `executions/${executionId}/stop`);
  }

  job(jobId: string): Promise<IJob> {
    return request(this.settings, `training/status/${jobId}`);
  }

  private _get<Answer>(path: string): Promise<Answer> {
    return request(this.settings, within(path));
  }

  private _send<Answer>(
    method: string,
    path: string,
    body?: object
  ): Promise<Answer> {
    return request(this.settings, within(path), {
      method,
      body: body && JSON.stringify(body)
    });
  }
}

function within(path: string): string {
  return path === '' || path.startsWith('?')
    ? `workflows${path}`
    : `workflows/${path}`;
}
