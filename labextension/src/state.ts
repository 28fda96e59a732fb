/** What the panel shows, as plain data, and the steps from one state to the next. Pure: the model holds it, tests read it. */

import type {
  Counts,
  IJob,
  IJobPage,
  IModel,
  IPage,
  JobCommand,
  JobStatus
} from './records';

export type Connection = 'connecting' | 'live' | 'polling';

export interface IPanelState {
  jobs: readonly IJob[];
  jobsNext: string | null;
  /** Of all jobs, whatever is searched for; null before the first answer. */
  counts: Counts | null;
  jobSearch: string;
  status: JobStatus | '';
  /** null before the first answer. */
  models: readonly IModel[] | null;
  modelsNext: string | null;
  modelSearch: string;
  /** Commands that were asked for and have not shown an effect yet, by job. */
  asked: Readonly<Record<string, JobCommand>>;
  /** Epochs that ended while we listened, by job: the series has a new point. */
  epochsHeard: Readonly<Record<string, number>>;
  connection: Connection;
  /** Why the lists could not be read, in the server's words. */
  problem: string | null;
}

export const EMPTY: IPanelState = {
  jobs: [],
  jobsNext: null,
  counts: null,
  jobSearch: '',
  status: '',
  models: null,
  modelsNext: null,
  modelSearch: '',
  asked: {},
  epochsHeard: {},
  connection: 'connecting',
  problem: null
};

const ACTIVE: readonly JobStatus[] = [
  'pending',
  'initializing',
  'running',
  'paused'
];

export function isActive(status: JobStatus): boolean {
  return ACTIVE.includes(status);
}

export function countActive(counts: Counts): number {
  return ACTIVE.reduce((sum, status) => sum + (counts[status] ?? 0), 0);
}

export function countAll(counts: Counts): number {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}

/** Whether a status shows that a command was followed (or has become moot). */
export function isFollowed(command: JobCommand, status: JobStatus): boolean {
  if (command === 'stop') {
    return !isActive(status);
  }
  return command === 'pause'
    ? !['pending', 'initializing', 'running'].includes(status)
    : status !== 'paused';
}

/** The first page anew. Unchanged jobs stay the same objects, so that their rows do not render again. */
export function withJobs(state: IPanelState, page: IJobPage): IPanelState {
  const jobs = keepSame(state.jobs, page.items, job => job.job_id);
  return settle({
    ...state,
    jobs,
    jobsNext: page.next,
    counts: page.counts,
    problem: null
  });
}

/** One page more. */
export function withMoreJobs(state: IPanelState, page: IJobPage): IPanelState {
  const shown = new Set(state.jobs.map(job => job.job_id));
  const more = page.items.filter(job => !shown.has(job.job_id));
  return {
    ...state,
    jobs: [...state.jobs, ...more],
    jobsNext: page.next,
    counts: page.counts
  };
}

/** News of one job. A job that the list does not show changes nothing: a `created` event makes the list load. */
export function withJob(state: IPanelState, job: IJob): IPanelState {
  const at = state.jobs.findIndex(one => one.job_id === job.job_id);
  if (at < 0 || same(state.jobs[at], job)) {
    return state;
  }
  const jobs = [...state.jobs];
  jobs[at] = job;
  return settle({ ...state, jobs });
}

export function withModels(
  state: IPanelState,
  page: IPage<IModel>
): IPanelState {
  const models = keepSame(state.models ?? [], page.items, model => model.id);
  return { ...state, models, modelsNext: page.next };
}

export function withMoreModels(
  state: IPanelState,
  page: IPage<IModel>
): IPanelState {
  const before = state.models ?? [];
  const shown = new Set(before.map(model => model.id));
  const more = page.items.filter(model => !shown.has(model.id));
  return { ...state, models: [...before, ...more], modelsNext: page.next };
}

export function withAsked(
  state: IPanelState,
  jobId: string,
  command: JobCommand
): IPanelState {
  return { ...state, asked: { ...state.asked, [jobId]: command } };
}

export function withoutAsked(state: IPanelState, jobId: string): IPanelState {
  if (!(jobId in state.asked)) {
    return state;
  }
  const asked = { ...state.asked };
  delete asked[jobId];
  return { ...state, asked };
}

/** A job changed its status, as an event tells; it may have changed again since, which the lists show. */
export function withStatusEvent(
  state: IPanelState,
  jobId: string,
  to: JobStatus
): IPanelState {
  const command = state.asked[jobId];
  return command && isFollowed(command, to)
    ? withoutAsked(state, jobId)
    : state;
}

export function withEpochHeard(state: IPanelState, jobId: string): IPanelState {
  const heard = (state.epochsHeard[jobId] ?? 0) + 1;
  return { ...state, epochsHeard: { ...state.epochsHeard, [jobId]: heard } };
}

/** Changes exactly when a job's series has another point. */
export function seriesKey(state: IPanelState, job: IJob): string {
  const heard = state.epochsHeard[job.job_id] ?? 0;
  return `${job.current_epoch}.${job.best_epoch ?? 0}.${heard}`;
}

function settle(state: IPanelState): IPanelState {
  let next = state;
  for (const job of state.jobs) {
    const command = state.asked[job.job_id];
    if (command && isFollowed(command, job.status)) {
      next = withoutAsked(next, job.job_id);
    }
  }
  return next;
}

function keepSame<T>(
  before: readonly T[],
  after: readonly T[],
  key: (item: T) => string | number
): T[] {
  const old = new Map(before.map(item => [key(item), item]));
  return after.map(item => {
    const known = old.get(key(item));
    return known !== undefined && same(known, item) ? known : item;
  });
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
