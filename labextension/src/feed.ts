/** The websocket over which the server tells what happens; comes back by itself and goes on where it was. */

import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

import { API_PATH } from './api';
import { advance, reconnectDelay } from './position';
import type { FeedMessage } from './records';

export interface IFeed extends IDisposable {
  readonly message: ISignal<IFeed, FeedMessage>;
  /** True when the feed is heard, false when it is lost (or was never reached). */
  readonly heard: ISignal<IFeed, boolean>;
  start(): void;
  stop(): void;
}

export class Feed implements IFeed {
  constructor(private readonly _settings: ServerConnection.ISettings) {}

  get message(): ISignal<IFeed, FeedMessage> {
    return this._message;
  }

  get heard(): ISignal<IFeed, boolean> {
    return this._heard;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  start(): void {
    if (this._wanted || this._isDisposed) {
      return;
    }
    this._wanted = true;
    document.addEventListener('visibilitychange', this._onVisibility);
    this._open();
  }

  stop(): void {
    this._wanted = false;
    this._attempt = 0;
    window.clearTimeout(this._timer);
    this._timer = undefined;
    document.removeEventListener('visibilitychange', this._onVisibility);
    this._drop();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this.stop();
    this._isDisposed = true;
    Signal.clearData(this);
  }

  private _open(): void {
    const socket = new this._settings.WebSocket(this._url());
    this._socket = socket;
    socket.onmessage = event => {
      const step = advance(this._last, String(event.data));
      this._last = step.last;
      if (step.message?.type === 'hello') {
        this._attempt = 0;
        this._heard.emit(true);
      }
      if (step.message) {
        this._message.emit(step.message);
      }
    };
    socket.onclose = () => {
      this._drop();
      this._heard.emit(false);
      this._later();
    };
  }

  private _url(): string {
    const { wsUrl, token, appendToken } = this._settings;
    const query: Record<string, string> = {};
    if (this._last !== null) {
      query['since'] = String(this._last);
    }
    // as the connections to kernels do: a browser cannot set headers on a websocket
    if (appendToken && token !== '') {
      query['token'] = token;
    }
    const path = URLExt.join(wsUrl, API_PATH, 'feed');
    return Object.keys(query).length
      ? path + URLExt.objectToQueryString(query)
      : path;
  }

  private _later(): void {
    if (!this._wanted || document.hidden) {
      // nobody looks: the next attempt is made when the page is seen again
      return;
    }
    const delay = reconnectDelay(this._attempt, Math.random());
    this._attempt += 1;
    this._timer = window.setTimeout(() => {
      this._timer = undefined;
      this._open();
    }, delay);
  }

  private _onVisibility = (): void => {
    if (!document.hidden && !this._socket && this._timer === undefined) {
      this._attempt = 0;
      this._open();
    }
  };

  private _drop(): void {
    const socket = this._socket;
    this._socket = null;
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    }
  }

  private _attempt = 0;
  private _heard = new Signal<IFeed, boolean>(this);
  private _isDisposed = false;
  private _last: number | null = null;
  private _message = new Signal<IFeed, FeedMessage>(this);
  private _socket: WebSocket | null = null;
  private _timer: number | undefined;
  private _wanted = false;
}
