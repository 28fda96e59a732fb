import { edgeKey, IEdge, IGraph, INode } from './graph';
import { same } from './settingsSchema';

/**
 * `mine` with what somebody else changed from `before` to `now`: neither's edits are lost. Where both changed the same
 * setting, the other's value holds; what is deleted here stays so.
 */
export function merged(mine: IGraph, before: IGraph, now: IGraph): IGraph {
  const nodes = mergedItems(mine.nodes, before.nodes, now.nodes, one => one.id);
  const there = new Set(nodes.map(node => node.id));
  const edges = mergedItems(mine.edges, before.edges, now.edges, edgeKey);
  const kept = edges.filter(
    edge => there.has(edge.source) && there.has(edge.target)
  );
  return same(nodes, mine.nodes) && same(kept, mine.edges)
    ? mine
    : { ...mine, nodes, edges: kept };
}

function mergedItems<Item extends INode | IEdge>(
  mine: readonly Item[],
  before: readonly Item[],
  now: readonly Item[],
  key: (item: Item) => string
): Item[] {
  const here = new Set(mine.map(key));
  const was = new Map(before.map(item => [key(item), item]));
  const is = new Map(now.map(item => [key(item), item]));
  const kept = mine.filter(item => is.has(key(item)) || !was.has(key(item)));
  const added = now.filter(item => !here.has(key(item)) && !was.has(key(item)));
  return [
    ...kept.map(item => {
      const given = is.get(key(item));
      return given ? (overlaid(item, was.get(key(item)), given) as Item) : item;
    }),
    ...added
  ];
}

/** An object with what differs between two others; the same one where nothing does. */
function overlaid(mine: object, before: object | undefined, now: object) {
  const result = new Map<string, unknown>(Object.entries(mine));
  const was = new Map<string, unknown>(Object.entries(before ?? {}));
  const is = new Map<string, unknown>(Object.entries(now));
  for (const name of new Set([...was.keys(), ...is.keys()])) {
    const value = is.get(name);
    const here = result.get(name);
    if (same(was.get(name), value) || same(here, value)) {
      continue;
    }
    if (value === undefined) {
      result.delete(name);
    } else if (isObject(value) && isObject(here)) {
      const old = was.get(name);
      result.set(name, overlaid(here, isObject(old) ? old : undefined, value));
    } else {
      result.set(name, value);
    }
  }
  const made: object = Object.fromEntries(result);
  return same(made, mine) ? mine : made;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
