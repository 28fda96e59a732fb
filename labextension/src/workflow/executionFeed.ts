import { Throttler } from '@lumino/polling';

import { Feed, FeedMessage } from '../feed';
import { IExecution, jobOf } from './execution';
import { News } from './transport';
import { WorkflowApi } from './workflowApi';

/** News of the executions of one workflow, from the server's feed. */
export class ExecutionFeed {
  constructor(
    private _api: WorkflowApi,
    private _feed: Feed,
    private _listener: (news: News) => void
  ) {
    _feed.message.connect(this._onMessage, this);
    _feed.connectionChanged.connect(this._onConnection, this);
    _feed.open();
  }

  /** Hear of the executions of this workflow from now on. */
  follow(workflowId: number): void {
    this._workflowId = workflowId;
    this._look();
  }

  dispose(): void {
    this._throttled.dispose();
    this._feed.dispose();
  }

  private _onConnection(_: Feed, connected: boolean): void {
    if (connected) {
      this._listener({ trouble: '' });
      this._look();
    } else {
      this._listener({ trouble: 'The server does not answer; trying again.' });
    }
  }

  private _onMessage(_: Feed, message: FeedMessage): void {
    if (message.type === 'progress') {
      if (this._jobs.has(message.job.job_id)) {
        this._listener({ job: message.job });
      }
    } else if (message.type === 'event') {
      const ours =
        (message.entity === 'execution' &&
          message.data.workflow_id === this._workflowId) ||
        (message.entity === 'node' &&
          message.data.execution_id === this._execution?.id);
      if (ours) {
        this._look();
      }
    }
  }

  private _look(): void {
    // what could not be read now is read at the next news
    this._throttled.invoke().catch(() => undefined);
  }

  private async _read(): Promise<void> {
    if (this._workflowId === null) {
      return;
    }
    const execution = await this._api.lastExecution(this._workflowId);
    if (execution === null) {
      return;
    }
    this._execution = execution;
    this._listener({ execution });
    const ids = execution.nodes
      .filter(run => run.status === 'running')
      .flatMap(run => jobOf(run) ?? []);
    for (const id of ids.filter(one => !this._jobs.has(one))) {
      this._listener({ job: await this._api.job(id) });
    }
    this._jobs = new Set(ids);
  }

  private _workflowId: number | null = null;
  private _execution: IExecution | null = null;
  private _jobs: ReadonlySet<string> = new Set();
  private _throttled = new Throttler(() => this._read(), 250);
}
