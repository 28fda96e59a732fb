import { Feed } from '../feed';
import { IExecution } from './execution';
import { ExecutionFeed } from './executionFeed';
import { IGraphJson } from './graph';
import { same } from './settingsSchema';
import {
  IIssue,
  IOpened,
  ITransport,
  IVersions,
  IWorkflow,
  News
} from './transport';
import { WorkflowApi } from './workflowApi';

/** A stored workflow on the server. What is not saved is kept in this browser, so that a reload finds it. */
export class ServerTransport implements ITransport {
  constructor(
    private _api: WorkflowApi,
    private _workflowId: number
  ) {
    const { baseUrl } = _api.settings;
    this._draftKey = `medfusion:draft:${baseUrl}:${_workflowId}`;
  }

  readonly versions: IVersions = {
    list: () => this._api.versions(this._workflowId),
    difference: (before, after) =>
      this._api.difference(this._workflowId, before, after),
    restore: async version => {
      const restored = await this._api.restore(this._workflowId, version);
      return this._settle(restored);
    }
  };

  nodeTypes = () => this._api.nodeTypes();
  templates = () => this._api.templates();

  async open(): Promise<IOpened> {
    const workflow = await this._api.get(this._workflowId);
    this._stored = workflow;
    const kept = window.localStorage.getItem(this._draftKey);
    const draft = kept === null ? null : (JSON.parse(kept) as IOpened['draft']);
    return { workflow, draft };
  }

  async check(graph: IGraphJson, version: number | null): Promise<IIssue[]> {
    const { _stored: stored } = this;
    const saved =
      stored &&
      same(stored.nodes, graph.nodes) &&
      same(stored.edges, graph.edges);
    if (saved) {
      window.localStorage.removeItem(this._draftKey);
    } else {
      const draft = JSON.stringify({ ...graph, version });
      window.localStorage.setItem(this._draftKey, draft);
    }
    return this._api.validate(graph);
  }

  async save(graph: IGraphJson, version: number | null): Promise<IWorkflow> {
    const saved = await this._api.save(this._workflowId, version ?? 1, graph);
    return this._settle(saved);
  }

  run(): Promise<IExecution> {
    return this._api.execute(this._workflowId);
  }

  async stop(executionId: number): Promise<void> {
    await this._api.stop(executionId);
  }

  lastExecution(): Promise<IExecution | null> {
    return this._api.lastExecution(this._workflowId);
  }

  executed(version: number): Promise<IGraphJson> {
    return this._api.version(this._workflowId, version);
  }

  follow(listener: (news: News) => void): void {
    const feed = new Feed(this._api.settings);
    this._feed = new ExecutionFeed(this._api, feed, listener);
    this._feed.follow(this._workflowId);
  }

  dispose(): void {
    this._feed?.dispose();
  }

  private _settle(workflow: IWorkflow): IWorkflow {
    this._stored = workflow;
    window.localStorage.removeItem(this._draftKey);
    return workflow;
  }

  private _draftKey: string;
  private _stored: IWorkflow | null = null;
  private _feed: ExecutionFeed | null = null;
}
