import { Catalogue, INodeType, IPort } from './catalogue';
import { addEdge, addNode, edgeKey, IEdge, IGraph, INode } from './graph';

/** The end of an edge that is being drawn. */
export interface IPortPlace {
  readonly node: string;
  readonly port: string;
  readonly side: 'inputs' | 'outputs';
}

/** Why an edge may not be drawn, in words; null where it may. The kernel or server checks the whole graph by its own rules. */
export function connectionProblem(
  graph: IGraph,
  catalogue: Catalogue,
  edge: IEdge
): string | null {
  const from = catalogue.port(graph, edge.source, 'outputs', edge.source_port);
  const to = catalogue.port(graph, edge.target, 'inputs', edge.target_port);
  if (!from || !to) {
    return 'One of the ports is not known.';
  }
  if (from.type !== to.type) {
    return `The input ${to.name} takes a ${to.type}, not a ${from.type}.`;
  }
  if (graph.edges.some(one => edgeKey(one) === edgeKey(edge))) {
    return 'They are connected already.';
  }
  if (leadsTo(graph, edge.target, edge.source)) {
    return 'The nodes would need one another.';
  }
  return null;
}

/** Draw an edge. An input that takes one edge has the last that was drawn. */
export function connected(
  graph: IGraph,
  catalogue: Catalogue,
  edge: IEdge
): IGraph {
  return addEdge(graph, edge, replacedBy(graph, catalogue, edge));
}

/** Add a node; from: the end of an edge that leads to its first port of that type. */
export function addConnected(
  graph: IGraph,
  catalogue: Catalogue,
  node: INode,
  from: IPortPlace | undefined
): IGraph {
  const added = addNode(graph, node);
  const type = catalogue.get(node.type);
  const port = from && type && portFor(graph, catalogue, type, from);
  if (!port) {
    return added;
  }
  const side = from.side === 'outputs' ? 'inputs' : 'outputs';
  const edge = edgeBetween(from, { node: node.id, port: port.name, side });
  return edge ? connected(added, catalogue, edge) : added;
}

/** The edges that a new one takes the place of. */
function replacedBy(
  graph: IGraph,
  catalogue: Catalogue,
  edge: IEdge
): readonly IEdge[] {
  const port = catalogue.port(graph, edge.target, 'inputs', edge.target_port);
  return port?.several
    ? []
    : graph.edges.filter(
        one =>
          one.target === edge.target && one.target_port === edge.target_port
      );
}

/** The edge between two ends, whichever of them it was drawn from; null between two of one side. */
export function edgeBetween(one: IPortPlace, other: IPortPlace): IEdge | null {
  if (one.side === other.side) {
    return null;
  }
  const [from, to] = one.side === 'outputs' ? [one, other] : [other, one];
  return {
    source: from.node,
    source_port: from.port,
    target: to.node,
    target_port: to.port
  };
}

/** The port of a new node of `type` that an edge from `end` could lead to. */
export function portFor(
  graph: IGraph,
  catalogue: Catalogue,
  type: INodeType,
  end: IPortPlace
): IPort | undefined {
  const port = catalogue.port(graph, end.node, end.side, end.port);
  const ports = end.side === 'outputs' ? type.inputs : type.outputs;
  return port && ports.find(one => one.type === port.type);
}

/** Whether the edges lead from one node to another; a node leads to itself. */
function leadsTo(graph: IGraph, from: string, to: string): boolean {
  const targets = new Map<string, string[]>();
  for (const edge of graph.edges) {
    targets.set(edge.source, [
      ...(targets.get(edge.source) ?? []),
      edge.target
    ]);
  }
  const seen = new Set<string>();
  const waiting = [from];
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if (id === to) {
      return true;
    }
    if (!seen.has(id)) {
      seen.add(id);
      waiting.push(...(targets.get(id) ?? []));
    }
  }
  return false;
}
