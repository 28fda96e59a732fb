const MOST = 200;

/** What was, what is and what was taken back. Changes of one `kind` that follow one another are taken back together. */
export class History<State> {
  constructor(private _present: State) {}

  get present(): State {
    return this._present;
  }

  get canUndo(): boolean {
    return this._past.length > 0;
  }

  get canRedo(): boolean {
    return this._future.length > 0;
  }

  /** A new state. kind: such as `setting lr`, of which each letter that is typed is a change; empty is like no other. */
  commit(state: State, kind = ''): void {
    if (state === this._present) {
      return;
    }
    if (kind === '' || kind !== this._kind) {
      this._past = [...this._past.slice(1 - MOST), this._present];
    }
    this._kind = kind;
    this._present = state;
    this._future = [];
  }

  /** The next change is taken back by itself. */
  settle(): void {
    this._kind = '';
  }

  undo(): void {
    const last = this._past.at(-1);
    if (last !== undefined) {
      this._past = this._past.slice(0, -1);
      this._future = [this._present, ...this._future];
      this._present = last;
      this._kind = '';
    }
  }

  redo(): void {
    const next = this._future[0];
    if (next !== undefined) {
      this._future = this._future.slice(1);
      this._past = [...this._past, this._present];
      this._present = next;
      this._kind = '';
    }
  }

  private _past: State[] = [];
  private _future: State[] = [];
  private _kind = '';
}
