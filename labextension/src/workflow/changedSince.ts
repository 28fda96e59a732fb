import { Catalogue } from './catalogue';
import { IEdge, IGraph } from './graph';
import { settingsMade } from './settingsSchema';

/**
 * The nodes of `now` that would not do again what they did when `ran` was executed: what is set, or what they take from, is
 * another. Names and places do not count, and what is not set is as its default.
 */
export function changedSince(
  ran: IGraph,
  now: IGraph,
  catalogue: Catalogue
): ReadonlySet<string> {
  const numbers = new Map<string, number>();
  const before = contents(ran, catalogue, numbers);
  const after = contents(now, catalogue, numbers);
  return new Set(
    [...after.keys()].filter(id => before.get(id) !== after.get(id))
  );
}

/** Each node's content as a number: nodes that do the same with the same have the same one. */
function contents(
  graph: IGraph,
  catalogue: Catalogue,
  numbers: Map<string, number>
): ReadonlyMap<string, number> {
  const nodes = new Map(graph.nodes.map(node => [node.id, node]));
  const into = new Map<string, IEdge[]>();
  for (const edge of graph.edges) {
    const there = into.get(edge.target);
    if (there) {
      there.push(edge);
    } else {
      into.set(edge.target, [edge]);
    }
  }
  const found = new Map<string, number>();
  const begun = new Set<string>();
  const numberOf = (id: string): number => {
    const known = found.get(id);
    const node = nodes.get(id);
    // a node that needs itself has no content: an issue says so
    if (known !== undefined || node === undefined || begun.has(id)) {
      return known ?? -1;
    }
    begun.add(id);
    const inputs = (into.get(id) ?? []).map(edge => [
      edge.target_port,
      edge.source_port,
      numberOf(edge.source)
    ]);
    // the order counts among the edges of one port alone
    inputs.sort(([one], [other]) => String(one).localeCompare(String(other)));
    const made = settingsMade(node.settings, catalogue.fields(node.type));
    made.sort(([one], [other]) => one.localeCompare(other));
    const text = JSON.stringify([node.type, made, inputs]);
    const number = numbers.get(text) ?? numbers.size;
    numbers.set(text, number);
    found.set(id, number);
    return number;
  };
  graph.nodes.forEach(node => numberOf(node.id));
  return found;
}
