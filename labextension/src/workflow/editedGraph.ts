import { placed } from './arrange';
import { EMPTY, IGraph, IGraphJson, readGraph, toJson } from './graph';
import { History } from './history';
import { merged } from './merge';

/** A graph while it is edited: what was before, what is now, and which of it is saved. */
export class EditedGraph {
  get now(): IGraph {
    return this._history.present;
  }

  get isSaved(): boolean {
    return this.now === this._saved;
  }

  get canUndo(): boolean {
    return this._history.canUndo;
  }

  get canRedo(): boolean {
    return this._history.canRedo;
  }

  /** The JSON of what is now. Places that nodes were given to be drawn are no change of what is saved. */
  get json(): IGraphJson {
    return this.isSaved ? this._savedJson : toJson(this.now);
  }

  /** Put another graph in place of this one. kind: edits of one kind that follow one another are undone together. */
  commit(graph: IGraph, kind?: string): void {
    this._history.commit(graph, kind);
  }

  /** The next edit is undone by itself. */
  settle(): void {
    this._history.settle();
  }

  undo(): void {
    this._history.undo();
  }

  redo(): void {
    this._history.redo();
  }

  /** Show what is stored. What was there can be had back by undo, but for the nothing that was before the first. */
  show(stored: IGraphJson): void {
    const graph = placed(readGraph(stored));
    if (this.now === EMPTY) {
      this._history = new History(graph);
    } else {
      this._history.commit(graph);
    }
    this._saved = graph;
    this._savedJson = { nodes: stored.nodes, edges: stored.edges };
  }

  /** Put in what was edited of what is stored, and not saved. */
  takeDraft(draft: IGraphJson): void {
    this._history.commit(placed(readGraph(draft)));
  }

  /** Put in what somebody else changed from `before` to `now`. */
  takeIn(before: IGraphJson, now: IGraphJson): void {
    const mine = this.now;
    const both = merged(mine, readGraph(before), readGraph(now));
    this._history.commit(both === mine ? mine : placed(both));
  }

  /** A graph that was the one here, when it was stored, is saved. */
  markSaved(graph: IGraph = this.now): void {
    this._saved = graph;
    this._savedJson = toJson(graph);
  }

  private _history = new History<IGraph>(EMPTY);
  private _saved: IGraph = EMPTY;
  private _savedJson: IGraphJson = EMPTY;
}
