import { IExecution, INodeJob, INodeRun, jobOf } from './execution';
import { same } from './settingsSchema';

/** What the editor knows of the newest execution. */
export interface IRuns {
  readonly execution: IExecution | null;
  /** The run of each node, by its id. */
  readonly runs: ReadonlyMap<string, INodeRun>;
  /** The jobs that its nodes wait for or left, by their id. */
  readonly jobs: ReadonlyMap<string, INodeJob>;
}

export const NO_RUNS: IRuns = {
  execution: null,
  runs: new Map(),
  jobs: new Map()
};

/** With news of an execution. Runs of which nothing is new are the ones there were; one that is older than what is known is left out. */
export function withExecution(
  known: IRuns,
  execution: IExecution | null
): IRuns {
  if (execution && known.execution && execution.id < known.execution.id) {
    return known;
  }
  const nodes = execution?.nodes ?? [];
  const runs = nodes.map((run): [string, INodeRun] => {
    const before = known.runs.get(run.node_id);
    return [run.node_id, before && same(before, run) ? before : run];
  });
  const ours = new Set(nodes.map(jobOf));
  const jobs = [...known.jobs].filter(([id]) => ours.has(id));
  return { execution, runs: new Map(runs), jobs: new Map(jobs) };
}

/** With news of a job. */
export function withJob(known: IRuns, job: INodeJob): Pick<IRuns, 'jobs'> {
  return { jobs: new Map(known.jobs).set(job.job_id, job) };
}
