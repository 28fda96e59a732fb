import { DocumentRegistry } from '@jupyterlab/docregistry';

import { Feed } from '../feed';
import { RefusedError } from '../refused';
import { IExecution } from './execution';
import { ExecutionFeed } from './executionFeed';
import { EMPTY, IGraphJson } from './graph';
import { same } from './settingsSchema';
import { IIssue, IOpened, ITransport, IWorkflow, News } from './transport';
import { IStoredWorkflow, WorkflowApi } from './workflowApi';

/** Of a document, whose saves are those of its file. */
const SAVED = 1;

/**
 * A workflow in a `.medflow.json` file. The document is the draft, and its file what is saved. To be run it is stored under
 * the file's path.
 */
export class DocumentTransport implements ITransport {
  constructor(
    private _api: WorkflowApi,
    private _context: DocumentRegistry.Context
  ) {}

  readonly versions = null;

  nodeTypes = () => this._api.nodeTypes();
  templates = () => this._api.templates();

  async open(): Promise<IOpened> {
    await this._context.ready;
    const { nodes, edges } = this._read();
    const name = this._context.path;
    return { workflow: { name, version: SAVED, nodes, edges }, draft: null };
  }

  /** Whether the document holds another graph than the one that was checked or opened last. */
  isOther(graph: IGraphJson): boolean {
    const { nodes, edges } = this._read();
    return !same(nodes, graph.nodes) || !same(edges, graph.edges);
  }

  check(graph: IGraphJson): Promise<IIssue[]> {
    this._write(graph);
    return this._api.validate(graph);
  }

  async save(graph: IGraphJson): Promise<IWorkflow> {
    this._write(graph);
    await this._context.save();
    return { name: this._context.path, version: SAVED, ...graph };
  }

  async run(): Promise<IExecution> {
    const { nodes, edges } = this._read();
    const graph = { nodes, edges };
    let stored = await this._stored();
    if (stored === null) {
      stored = await this._api.create(this._context.path, graph);
    } else if (!same(stored.nodes, nodes) || !same(stored.edges, edges)) {
      stored = await this._api.save(stored.id, stored.version, graph);
    }
    this._feed?.follow(stored.id);
    return this._api.execute(stored.id);
  }

  async stop(executionId: number): Promise<void> {
    await this._api.stop(executionId);
  }

  async lastExecution(): Promise<IExecution | null> {
    const stored = await this._stored();
    return stored && this._api.lastExecution(stored.id);
  }

  async executed(version: number): Promise<IGraphJson> {
    const stored = await this._stored();
    return stored ? this._api.version(stored.id, version) : EMPTY;
  }

  follow(listener: (news: News) => void): void {
    const feed = new ExecutionFeed(
      this._api,
      new Feed(this._api.settings),
      listener
    );
    this._feed = feed;
    this._stored().then(
      stored => stored && feed.follow(stored.id),
      () => undefined
    );
  }

  dispose(): void {
    this._feed?.dispose();
  }

  private _stored(): Promise<IStoredWorkflow | null> {
    return this._api.named(this._context.path);
  }

  /** The document's JSON. An empty file is an empty workflow. */
  private _read(): IGraphJson & { [name: string]: unknown } {
    const text = this._context.model.toString();
    let json: unknown;
    try {
      json = text.trim() === '' ? {} : JSON.parse(text);
    } catch (error) {
      throw new RefusedError(
        400,
        `${this._context.path} is no JSON: ${error}. Open it with the text editor to mend it.`
      );
    }
    const { nodes = [], edges = [], ...rest } = Object(json) as IGraphJson;
    if (!Array.isArray(nodes) || !Array.isArray(edges)) {
      throw new RefusedError(
        400,
        `${this._context.path} is no workflow: it has no lists nodes and edges.`
      );
    }
    return { ...rest, nodes, edges };
  }

  private _write(graph: IGraphJson): void {
    if (this.isOther(graph)) {
      const json = { ...this._read(), ...graph };
      this._context.model.fromString(`${JSON.stringify(json, null, 2)}\n`);
    }
  }

  private _feed: ExecutionFeed | null = null;
}
