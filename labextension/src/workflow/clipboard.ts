import { IGraph, IGraphJson, insert, IInserted, part } from './graph';

/** How far what is pasted lies from what was copied, in pixels. */
const SHIFT = 32;

/** Nodes as text, which a clipboard carries to this editor or another. */
export class Clipboard {
  /** These nodes with the edges between them; null where there are none. */
  copy(graph: IGraph, nodes: ReadonlySet<string>): string | null {
    return nodes.size === 0
      ? null
      : JSON.stringify({ medflow: part(graph, nodes) });
  }

  /** The graph with what `copy` gave, each time a little further off; null where the text is none of that. */
  paste(graph: IGraph, text: string): IInserted | null {
    const given = read(text);
    if (!given) {
      return null;
    }
    this._times = text === this._last ? this._times + 1 : 1;
    this._last = text;
    const shift = SHIFT * this._times;
    return insert(graph, given, { x: shift, y: shift });
  }

  private _times = 0;
  private _last = '';
}

function read(text: string): IGraphJson | null {
  try {
    const given: unknown = JSON.parse(text);
    const copied = (given as { medflow?: IGraphJson } | null)?.medflow;
    return Array.isArray(copied?.nodes) && Array.isArray(copied.edges)
      ? copied
      : null;
  } catch {
    return null;
  }
}
