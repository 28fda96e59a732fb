import { IDisposable } from '@lumino/disposable';
import { Throttler } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { Feed, FeedMessage } from './feed';
import { IStoredWorkflow, WorkflowApi } from './workflow/workflowApi';

const PAGE = 50;
const MOST = 500;

/** The stored workflows that the panel lists; kept up to date by the feed that the panel opens and closes. */
export class WorkflowList implements IDisposable {
  constructor(
    private _api: WorkflowApi,
    feed: Feed
  ) {
    feed.message.connect(this._onMessage, this);
    feed.connectionChanged.connect(this._onConnection, this);
  }

  items: readonly IStoredWorkflow[] = [];
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

  dispose(): void {
    this._isDisposed = true;
    this._throttled.dispose();
    Signal.clearData(this);
  }

  private _onMessage(_: Feed, message: FeedMessage): void {
    if (
      message.type === 'event' &&
      (message.entity === 'workflow' || message.entity === 'execution')
    ) {
      void this._throttled.invoke();
    }
  }

  private _onConnection(_: Feed, connected: boolean): void {
    if (connected) {
      void this.refresh();
    }
  }

  private _limit = PAGE;
  private _isDisposed = false;
  private _changed = new Signal<this, void>(this);
  private _throttled = new Throttler(() => this.refresh(), 400);
}
