import { IDisposable } from '@lumino/disposable';
import { Throttler } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { Feed, FeedMessage } from './feed';
import { isActive } from './workflow/execution';
import { IListedWorkflow, WorkflowApi } from './workflow/workflowApi';

const PAGE = 50;
const MOST = 500;

/** What was asked of a workflow and is not done yet. */
export type Asked = 'run' | 'stop';

/** The stored workflows that the panel lists, and what is asked of them; kept up to date by the feed that the panel opens and closes. */
export class WorkflowList implements IDisposable {
  constructor(
    private _api: WorkflowApi,
    feed: Feed
  ) {
    feed.message.connect(this._onMessage, this);
    feed.connectionChanged.connect(this._onConnection, this);
  }

  items: readonly IListedWorkflow[] = [];
  search = '';
  more = false;
  /** Whether the list has been read once: an empty one says something only then. */
  loaded = false;
  trouble = '';
  /** The time (ms since 1970) that `2 h ago` is counted from. */
  now = Date.now();

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  async refresh(): Promise<void> {
    const { search } = this;
    try {
      const page = await this._api.list({ search, limit: this._limit });
      if (search !== this.search) {
        return;
      }
      this.items = page.items;
      this._settle();
      this.more = page.next !== null && this._limit < MOST;
      this.loaded = true;
      this.trouble = '';
    } catch (error) {
      this.trouble = `The workflows could not be read: ${error instanceof Error ? error.message : error}`;
    }
    this.now = Date.now();
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  async find(search: string): Promise<void> {
    this.search = search;
    this._limit = PAGE;
    this._changed.emit();
    await this._throttled.invoke();
  }

  async showMore(): Promise<void> {
    this._limit = Math.min(MOST, this._limit + PAGE);
    await this.refresh();
  }

  /** What was asked of a workflow and is not done yet. */
  asked(id: number): Asked | undefined {
    return this._asked.get(id);
  }

  /** The name of a workflow, which the list need not hold. */
  async nameOf(id: number): Promise<string> {
    const listed = this.items.find(one => one.id === id);
    return (listed ?? (await this._api.get(id))).name;
  }

  /** Store an empty workflow; gives its id. Throws RefusedError where the name is taken. */
  async create(name: string): Promise<number> {
    return (await this._api.create(name, { nodes: [], edges: [] })).id;
  }

  /** Execute a workflow in a kernel of its own; throws RefusedError with what is wrong with its graph. */
  async run(id: number): Promise<void> {
    await this._ask('run', id, () => this._api.execute(id));
  }

  /** Stop the newest execution of a workflow; throws RefusedError where it has ended. */
  async stop(id: number): Promise<void> {
    await this._ask('stop', id, async () => {
      const execution = await this._api.lastExecution(id);
      if (execution) {
        await this._api.stop(execution.id);
      }
    });
  }

  /** Forget a workflow; throws RefusedError where a job came of it, or somebody else owns it. */
  async delete(id: number): Promise<void> {
    await this._api.delete(id);
    await this.refresh();
  }

  dispose(): void {
    this._isDisposed = true;
    this._throttled.dispose();
    Signal.clearData(this);
  }

  /** A second click while the first is on its way does nothing. */
  private async _ask(
    what: Asked,
    id: number,
    work: () => Promise<unknown>
  ): Promise<void> {
    if (this._asked.get(id) === what) {
      return;
    }
    this._asked.set(id, what);
    this._changed.emit();
    try {
      await work();
      await this.refresh();
    } catch (error) {
      this._asked.delete(id);
      this._changed.emit();
      throw error;
    }
    if (what === 'run') {
      this._asked.delete(id);
      this._changed.emit();
    }
  }

  /** A stop is done when nothing is at work any longer. */
  private _settle(): void {
    for (const { id, last_execution } of this.items) {
      if (this._asked.get(id) === 'stop' && !isActive(last_execution)) {
        this._asked.delete(id);
      }
    }
  }

  private _onMessage(_: Feed, message: FeedMessage): void {
    if (message.type !== 'event') {
      return;
    }
    const { entity, kind } = message;
    if (
      entity === 'workflow' ||
      entity === 'execution' ||
      // what a node notes of itself is not shown here
      (entity === 'node' && kind === 'status')
    ) {
      void this._throttled.invoke();
    }
  }

  private _onConnection(_: Feed, connected: boolean): void {
    if (connected) {
      void this.refresh();
    }
  }

  private _asked = new Map<number, Asked>();
  private _limit = PAGE;
  private _isDisposed = false;
  private _changed = new Signal<this, void>(this);
  private _throttled = new Throttler(() => this.refresh(), 400);
}
