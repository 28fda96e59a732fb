import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { IJob } from './api';
import { reconnectDelay } from './backoff';

export type FeedMessage =
  | { type: 'hello'; last: number }
  | {
      type: 'event';
      id: number;
      kind: string;
      entity: string;
      entity_id: string;
      data: { [name: string]: unknown };
    }
  | { type: 'progress'; job: IJob };

/** The server's websocket of changes. It comes back after a loss, and asks for what it missed. */
export class Feed implements IDisposable {
  constructor(private _settings: ServerConnection.ISettings) {}

  /** What the server told. */
  get message(): ISignal<this, FeedMessage> {
    return this._message;
  }

  /** Emitted with true when the server answers and with false when it is lost. */
  get connectionChanged(): ISignal<this, boolean> {
    return this._connectionChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Connect, and stay connected until `close`. */
  open(): void {
    if (this._wanted || this._isDisposed) {
      return;
    }
    this._wanted = true;
    this._connect();
  }

  /** Hang up; nothing that happens meanwhile is lost, `open` asks for it. */
  close(): void {
    this._wanted = false;
    window.clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    socket?.close();
  }

  dispose(): void {
    this.close();
    this._isDisposed = true;
    Signal.clearData(this);
  }

  private _connect(): void {
    const { wsUrl, appendToken, token, WebSocket } = this._settings;
    const query: { [name: string]: string } = {};
    if (this._last !== null) {
      query.since = String(this._last);
    }
    if (appendToken && token !== '') {
      query.token = token;
    }
    const socket = new WebSocket(
      URLExt.join(wsUrl, 'medfusion/api/feed') +
        URLExt.objectToQueryString(query)
    );
    this._socket = socket;
    socket.onmessage = event => {
      if (socket === this._socket) {
        this._receive(JSON.parse(event.data));
      }
    };
    socket.onclose = () => {
      if (socket !== this._socket) {
        return;
      }
      this._socket = null;
      this._connectionChanged.emit(false);
      if (this._wanted) {
        this._timer = window.setTimeout(
          () => this._connect(),
          reconnectDelay(this._failures++, Math.random())
        );
      }
    };
  }

  private _receive(message: FeedMessage): void {
    if (message.type === 'hello') {
      this._failures = 0;
      // another database, or the same one restored from a backup, counts from elsewhere
      if (this._last === null || message.last < this._last) {
        this._last = message.last;
      }
      this._connectionChanged.emit(true);
    } else if (message.type === 'event') {
      this._last = message.id;
    }
    this._message.emit(message);
  }

  private _socket: WebSocket | null = null;
  private _wanted = false;
  private _isDisposed = false;
  private _failures = 0;
  private _timer = 0;
  private _last: number | null = null;
  private _message = new Signal<this, FeedMessage>(this);
  private _connectionChanged = new Signal<this, boolean>(this);
}
