import { IDisposable } from '@lumino/disposable';
import { Poll, Throttler } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import {
  ACTIVE,
  Api,
  Command,
  IChanges,
  IForkForm,
  IJob,
  IJobSettings,
  IModel,
  INewFork
} from './api';
import { Feed, FeedMessage } from './feed';

const PAGE = 50;
const MOST = 500;
const SPARK_POINTS = 32;
const CLOCK = 30000;

/** What the panel shows. Views subscribe to `changed`; nobody else talks to the server. */
export class PanelModel implements IDisposable {
  constructor(
    private _api: Api,
    private _feed: Feed,
    private _findQuickstart: () => Promise<string | null>
  ) {
    _feed.message.connect(this._onMessage, this);
    _feed.connectionChanged.connect(this._onConnection, this);
    this._poll = new Poll({
      auto: false,
      name: 'medfusion:lists',
      factory: () => this.refresh(),
      frequency: { interval: 5000, backoff: true, max: 60000 },
      standby: 'when-hidden'
    });
  }

  jobs: IJob[] = [];
  models: IModel[] = [];
  counts: { [status: string]: number } = {};
  moreJobs = false;
  moreModels = false;
  search = '';
  status = '';
  modelSearch = '';
  /** Why the lists may be old, in words; empty when they are not. */
  trouble = '';
  /** Whether the lists have been read once: an empty list says something only then. */
  jobsLoaded = false;
  modelsLoaded = false;
  /** The time (ms since 1970) that `2 h ago` is counted from. */
  now = Date.now();
  /** Path of the quickstart notebook, where it is there. Looked for when there is no job yet. */
  quickstart: string | null = null;

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Follow the server from now on. */
  start(): void {
    this._feed.open();
    window.clearInterval(this._clock);
    this._clock = window.setInterval(() => this._emit(), CLOCK);
  }

  /** Follow it no longer: the panel is not seen. */
  stop(): void {
    this._feed.close();
    window.clearInterval(this._clock);
    void this._poll.stop();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearInterval(this._clock);
    this._throttledJobs.dispose();
    this._throttledModels.dispose();
    this._poll.dispose();
    this._feed.dispose();
    Signal.clearData(this);
  }

  /** The command that was asked of a job and that it has not obeyed yet. */
  asked(jobId: string): Command | undefined {
    return this._asked.get(jobId);
  }

  /** The last values of a job's watched metric, oldest first. */
  spark(job: IJob): readonly number[] {
    const known = this._sparks.get(job.job_id);
    if (
      known === undefined &&
      job.current_epoch > 1 &&
      job.num_folds === null
    ) {
      this._sparks.set(job.job_id, []);
      void this._loadSpark(job);
    }
    return known ?? [];
  }

  /** The folds of a cross-validation that is open; undefined where it is closed. */
  folds(jobId: string): readonly IJob[] | undefined {
    return this._folds.get(jobId);
  }

  /** Open a cross-validation, or close it. */
  async toggleFolds(jobId: string): Promise<void> {
    if (this._folds.delete(jobId)) {
      this._emit();
      return;
    }
    this._folds.set(jobId, []);
    await this._load(() => this._loadFolds(jobId));
  }

  async refresh(): Promise<void> {
    await Promise.all([this.refreshJobs(), this.refreshModels()]);
  }

  async refreshJobs(): Promise<void> {
    const query = {
      search: this.search,
      status: this.status,
      limit: this._jobLimit
    };
    await this._load(async () => {
      const page = await this._api.jobs(query);
      // an answer to an earlier question must not overwrite that to a later one
      if (query.search !== this.search || query.status !== this.status) {
        return;
      }
      this.jobs = page.items;
      this.counts = page.counts;
      this.moreJobs = page.next !== null && this._jobLimit < MOST;
      this.jobs.forEach(job => this._settle(job));
      for (const jobId of [...this._folds.keys()]) {
        if (this.jobs.some(job => job.job_id === jobId)) {
          await this._loadFolds(jobId);
        } else {
          this._folds.delete(jobId);
        }
      }
      if (!this.jobsLoaded && page.items.length === 0) {
        this.quickstart = await this._findQuickstart();
      }
      this.jobsLoaded = true;
    });
  }

  async refreshModels(): Promise<void> {
    const query = { search: this.modelSearch, limit: this._modelLimit };
    await this._load(async () => {
      const page = await this._api.models(query);
      if (query.search !== this.modelSearch) {
        return;
      }
      this.models = page.items;
      this.modelsLoaded = true;
      this.moreModels = page.next !== null && this._modelLimit < MOST;
    });
  }

  async find(search: string, status: string): Promise<void> {
    this.search = search;
    this.status = status;
    this._jobLimit = PAGE;
    this._emit();
    await this._throttledJobs.invoke();
  }

  async findModels(search: string): Promise<void> {
    this.modelSearch = search;
    this._modelLimit = PAGE;
    this._emit();
    await this._throttledModels.invoke();
  }

  async showMoreJobs(): Promise<void> {
    this._jobLimit = Math.min(MOST, this._jobLimit + PAGE);
    await this.refreshJobs();
  }

  async showMoreModels(): Promise<void> {
    this._modelLimit = Math.min(MOST, this._modelLimit + PAGE);
    await this.refreshModels();
  }

  /** What a job is trained with now. */
  settings(jobId: string): Promise<IJobSettings> {
    return this._api.settingsOf(jobId);
  }

  /** Change settings of a run; throws RefusedError with the server's words. */
  async change(jobId: string, changes: IChanges): Promise<void> {
    this._put(await this._api.change(jobId, changes));
    this._emit();
  }

  /** What a fork of a job may begin from and change. */
  forkForm(jobId: string): Promise<IForkForm> {
    return this._api.forkForm(jobId);
  }

  /** Queue a fork of a job; throws RefusedError with the server's words. */
  async fork(jobId: string, fork: INewFork): Promise<IJob> {
    const made = await this._api.fork(jobId, fork);
    this._quietly(this._throttledJobs.invoke());
    return made;
  }

  /** Ask the run of a job; throws RefusedError with the server's words. A second click on its way does nothing. */
  async command(command: Command, jobId: string): Promise<void> {
    if (this._asked.get(jobId) === command) {
      return;
    }
    // a checkpoint changes no status that could be waited for
    if (command !== 'checkpoint') {
      this._asked.set(jobId, command);
      this._emit();
    }
    try {
      this._put(await this._api.command(command, jobId));
    } catch (error) {
      this._asked.delete(jobId);
      throw error;
    } finally {
      this._emit();
    }
  }

  /** Forget a job that has ended; throws RefusedError where a model or another job stands on it. */
  async deleteJob(jobId: string): Promise<void> {
    await this._api.deleteJob(jobId);
    await this.refreshJobs();
  }

  /** Forget a model; throws RefusedError where it has an alias. */
  async deleteModel(id: number): Promise<void> {
    await this._api.deleteModel(id);
    await this.refreshModels();
  }

  private _emit(): void {
    this.now = Date.now();
    this._changed.emit();
  }

  private async _load(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.trouble = '';
    } catch (error) {
      this.trouble = `The lists could not be read: ${error instanceof Error ? error.message : error}`;
      throw error;
    } finally {
      if (!this._isDisposed) {
        this._emit();
      }
    }
  }

  private async _loadFolds(jobId: string): Promise<void> {
    const folds = await this._api.folds(jobId);
    // it may have been closed meanwhile
    if (this._folds.has(jobId)) {
      this._folds.set(jobId, folds);
      folds.forEach(fold => this._settle(fold));
    }
  }

  private async _loadSpark(job: IJob): Promise<void> {
    try {
      const series = await this._api.series(
        job.job_id,
        job.watched_metric,
        SPARK_POINTS
      );
      const values = series.values.filter(value => value !== null);
      this._sparks.set(job.job_id, values as number[]);
      this._emit();
    } catch {
      // the row is right without it; the next epoch asks again
      this._sparks.delete(job.job_id);
    }
  }

  private _onMessage(_: Feed, message: FeedMessage): void {
    if (message.type === 'progress') {
      if (this._put(message.job)) {
        this._emit();
      }
    } else if (message.type === 'event' && message.entity === 'model') {
      this._quietly(this._throttledModels.invoke());
    } else if (message.type === 'event' && message.entity === 'job') {
      if (message.kind === 'epoch') {
        this._sparks.delete(message.entity_id);
      }
      this._quietly(this._throttledJobs.invoke());
    }
  }

  private _onConnection(_: Feed, connected: boolean): void {
    if (connected) {
      void this._poll.stop();
      this._quietly(this.refresh());
    } else {
      this.trouble = 'The server does not answer; trying again.';
      this._emit();
      void this._poll.start();
    }
  }

  /** Failed loads are said in `trouble`, which the panel shows. */
  private _quietly(work: Promise<unknown>): void {
    work.catch(() => undefined);
  }

  private _put(job: IJob): boolean {
    this._settle(job);
    const folds = this._folds.get(job.parent_job_id ?? '');
    if (folds?.some(fold => fold.job_id === job.job_id)) {
      this._folds.set(
        job.parent_job_id ?? '',
        folds.map(fold => (fold.job_id === job.job_id ? job : fold))
      );
      return true;
    }
    const k = this.jobs.findIndex(one => one.job_id === job.job_id);
    if (k < 0) {
      return false;
    }
    this.jobs = [...this.jobs.slice(0, k), job, ...this.jobs.slice(k + 1)];
    return true;
  }

  private _settle(job: IJob): void {
    const asked = this._asked.get(job.job_id);
    if (
      !ACTIVE.includes(job.status) ||
      (asked === 'pause' && job.status === 'paused') ||
      (asked === 'resume' && job.status === 'running')
    ) {
      this._asked.delete(job.job_id);
    }
  }

  private _asked = new Map<string, Command>();
  private _sparks = new Map<string, readonly number[]>();
  private _folds = new Map<string, readonly IJob[]>();
  private _clock = 0;
  private _jobLimit = PAGE;
  private _modelLimit = PAGE;
  private _isDisposed = false;
  private _changed = new Signal<this, void>(this);
  private _throttledJobs = new Throttler(() => this.refreshJobs(), 400);
  private _throttledModels = new Throttler(() => this.refreshModels(), 400);
  private _poll: Poll;
}
