import { RefusedError } from '../refused';
import { INodeType } from './catalogue';
import { IExecution, interrupted } from './execution';
import { IGraphJson } from './graph';
import {
  IDifference,
  IGraphNews,
  IIssue,
  IOpened,
  ITemplate,
  ITransport,
  IVersion,
  IVersions,
  IWorkflow,
  News
} from './transport';

/** What anywidget gives: a way to send messages to the kernel and to hear its own. */
export interface IMessages {
  send(content: unknown): void;
  on(event: MessageEvent, listener: (content: unknown) => void): void;
  off(event: MessageEvent, listener: (content: unknown) => void): void;
}

/** `comm_live_update`, which not every front-end has: the way to the kernel was lost, or is there again. */
type MessageEvent = 'msg:custom' | 'comm_live_update';

/** How long a kernel may be silent before a person is told that a cell keeps it, in ms. */
const PATIENCE = 4000;

const BUSY =
  'The kernel does not answer: it is busy with a cell, or gone. What was asked is done when it is free.';

const LOST =
  'This editor has lost its kernel, which was restarted or is gone: what it ran is interrupted. Run the cell again, and Run ' +
  'goes on from there. What was not saved is only here: Ctrl A and Ctrl C copy it, Ctrl V puts it into the new editor.';

type Answer =
  | { readonly id: string; readonly answer: unknown }
  | {
      readonly id: string;
      readonly refused: { readonly status: number; readonly message: string };
    }
  | { readonly news: Exclude<News, { graph: IGraphNews }> }
  | { readonly news: { readonly graph: IGraphNews & INumbered } };

/** number: how often code's changes of the graph were told by then. */
interface INumbered {
  readonly number: number;
}

/** A workflow in a kernel: questions and answers over the messages of a widget. `widgets/builder.py` is the other end. */
export class KernelTransport implements ITransport {
  constructor(private _messages: IMessages) {
    _messages.on('msg:custom', this._hear);
    _messages.on('comm_live_update', this._doubt);
  }

  readonly versions: IVersions = {
    list: () => this._ask<IVersion[]>('versions'),
    difference: (before, after) =>
      this._ask<IDifference>('difference', { before, after }),
    restore: version => this._ask<IWorkflow>('restore', { version })
  };

  nodeTypes(): Promise<INodeType[]> {
    return this._ask('node_types');
  }

  templates(): Promise<ITemplate[]> {
    return this._ask('templates');
  }

  async open(): Promise<IOpened> {
    const opened = await this._ask<IOpened & { told: INumbered['number'] }>(
      'open'
    );
    this._heard = Math.max(this._heard, opened.told);
    return opened;
  }

  check(graph: IGraphJson, version: number | null): Promise<IIssue[]> {
    return this._ask('check', { ...graph, version, heard: this._heard });
  }

  save(graph: IGraphJson, version: number | null): Promise<IWorkflow> {
    return this._ask('save', { ...graph, version });
  }

  async run(): Promise<IExecution> {
    return (this._execution = await this._ask<IExecution>('run'));
  }

  stop(executionId: number): Promise<void> {
    return this._ask('stop', { execution_id: executionId });
  }

  async lastExecution(): Promise<IExecution | null> {
    return (this._execution = await this._ask<IExecution | null>(
      'last_execution'
    ));
  }

  executed(version: number): Promise<IGraphJson> {
    return this._ask('executed', { version });
  }

  follow(listener: (news: News) => void): void {
    this._listener = listener;
  }

  dispose(): void {
    this._messages.off('msg:custom', this._hear);
    this._messages.off('comm_live_update', this._doubt);
    window.clearTimeout(this._doubting);
    this._waiting.clear();
    this._listener = null;
  }

  private _ask<Result>(
    question: string,
    values: { [name: string]: unknown } = {}
  ): Promise<Result> {
    const id = `${this._name}-${++this._last}`;
    return new Promise((resolve, refuse) => {
      const timer = window.setTimeout(
        () => this._listener?.({ trouble: BUSY }),
        PATIENCE
      );
      this._waiting.set(id, answer => {
        window.clearTimeout(timer);
        window.clearTimeout(this._doubting);
        this._listener?.({ trouble: '' });
        if ('refused' in answer) {
          const { status, message } = answer.refused;
          refuse(new RefusedError(status, message));
        } else if ('answer' in answer) {
          resolve(answer.answer as Result);
        }
      });
      this._messages.send({ id, question, values });
    });
  }

  /** The way to the kernel has changed: ask for a sign of life, and without one take the kernel for gone. */
  private _doubt = (): void => {
    window.clearTimeout(this._doubting);
    this._doubting = window.setTimeout(() => this._lose(), PATIENCE);
    this.lastExecution().then(
      execution => execution && this._listener?.({ execution }),
      () => undefined
    );
  };

  /** Nothing is left that could be waited for. Should the kernel answer after all, it is there again. */
  private _lose(): void {
    const refused = { status: 503, message: LOST };
    [...this._waiting].forEach(([id, hear]) => hear({ id, refused }));
    if (this._execution !== null) {
      this._listener?.({ execution: interrupted(this._execution) });
    }
    this._listener?.({ trouble: LOST });
  }

  private _hear = (content: unknown): void => {
    const message = content as Answer;
    if ('news' in message) {
      if ('graph' in message.news) {
        this._heard = message.news.graph.number;
      } else if ('execution' in message.news) {
        this._execution = message.news.execution;
      }
      this._listener?.(message.news);
    } else {
      this._waiting.get(message.id)?.(message);
      this._waiting.delete(message.id);
    }
  };

  private _doubting = 0;
  /** The newest execution, as far as it was told. */
  private _execution: IExecution | null = null;
  private _listener: ((news: News) => void) | null = null;
  private _waiting = new Map<string, (answer: Answer) => void>();
  private _last = 0;
  /** The last of the kernel's news of the graph: what is checked without having heard of one, the kernel does not take over. */
  private _heard = 0;
  /** The views of a widget hear one another's answers. */
  private _name = Math.random().toString(36).slice(2);
}
