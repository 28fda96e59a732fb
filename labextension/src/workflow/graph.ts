/** A workflow's graph as it is stored, and the edits of it. No edit changes a graph: each gives a new one. */

export interface IPoint {
  readonly x: number;
  readonly y: number;
}

export interface ISettings {
  readonly [name: string]: unknown;
}

/** A node as it is stored; what else its JSON holds is kept. */
export interface INode {
  readonly id: string;
  readonly type: string;
  readonly settings: ISettings;
  readonly position?: IPoint;
  readonly [extra: string]: unknown;
}

/** From an output port of the node `source` to an input port of the node `target`. */
export interface IEdge {
  readonly source: string;
  readonly source_port: string;
  readonly target: string;
  readonly target_port: string;
  readonly [extra: string]: unknown;
}

export interface IGraph {
  readonly nodes: readonly INode[];
  readonly edges: readonly IEdge[];
  /** What the JSON holds that is no node or edge, or has the id of another: it is stored again as it was. */
  readonly unread: IGraphJson;
}

export interface IGraphJson {
  readonly nodes: readonly unknown[];
  readonly edges: readonly unknown[];
}

export const EMPTY: IGraph = {
  nodes: [],
  edges: [],
  unread: { nodes: [], edges: [] }
};

/** The graph in stored JSON, whatever that holds. */
export function readGraph(json: IGraphJson): IGraph {
  const nodes = new Map<string, INode>();
  const edges = new Map<string, IEdge>();
  const unread: { nodes: unknown[]; edges: unknown[] } = {
    nodes: [],
    edges: []
  };
  for (const given of json.nodes) {
    if (isNode(given) && !nodes.has(given.id)) {
      nodes.set(given.id, { ...given, settings: given.settings ?? {} });
    } else {
      unread.nodes.push(given);
    }
  }
  for (const given of json.edges) {
    const drawn =
      isEdge(given) && nodes.has(given.source) && nodes.has(given.target);
    if (drawn && !edges.has(edgeKey(given))) {
      edges.set(edgeKey(given), given);
    } else {
      unread.edges.push(given);
    }
  }
  return { nodes: [...nodes.values()], edges: [...edges.values()], unread };
}

/** The JSON to store, with all that was read. */
export function toJson(graph: IGraph): IGraphJson {
  return {
    nodes: [...graph.nodes, ...graph.unread.nodes],
    edges: [...graph.edges, ...graph.unread.edges]
  };
}

const BY_ID = new WeakMap<IGraph, ReadonlyMap<string | undefined, INode>>();

/** The node of an id; undefined where there is none. Of each graph the nodes are gone through once. */
export function nodeOf(
  graph: IGraph,
  id: string | undefined
): INode | undefined {
  let byId = BY_ID.get(graph);
  if (!byId) {
    byId = new Map(graph.nodes.map(node => [node.id, node]));
    BY_ID.set(graph, byId);
  }
  return byId.get(id);
}

/** What tells an edge from the others. */
export function edgeKey(edge: IEdge): string {
  const { source, source_port, target, target_port } = edge;
  return JSON.stringify([source, source_port, target, target_port]);
}

/** An id that no node has: the last word of the node's type, with a number where it is taken. */
export function freshId(taken: Iterable<string>, type: string): string {
  const ids = new Set(taken);
  const stem =
    type
      .split('.')
      .pop()
      ?.replace(/[^A-Za-z0-9_]/g, '_') || 'node';
  for (let k = 1; ; k++) {
    const id = k === 1 ? stem : `${stem}_${k}`;
    if (!ids.has(id)) {
      return id;
    }
  }
}

export function addNode(graph: IGraph, node: INode): IGraph {
  return { ...graph, nodes: [...graph.nodes, node] };
}

/** Add an edge in place of those of `instead`. */
export function addEdge(
  graph: IGraph,
  edge: IEdge,
  instead: readonly IEdge[] = []
): IGraph {
  const kept = graph.edges.filter(one => !instead.includes(one));
  return { ...graph, edges: [...kept, edge] };
}

/** Without these nodes, the edges at them, and the edges of these keys. */
export function remove(
  graph: IGraph,
  nodes: ReadonlySet<string>,
  edges: ReadonlySet<string>
): IGraph {
  return {
    ...graph,
    nodes: graph.nodes.filter(node => !nodes.has(node.id)),
    edges: graph.edges.filter(
      edge =>
        !nodes.has(edge.source) &&
        !nodes.has(edge.target) &&
        !edges.has(edgeKey(edge))
    )
  };
}

export function moveNodes(
  graph: IGraph,
  positions: ReadonlyMap<string, IPoint>
): IGraph {
  return mapNodes(graph, node => {
    const position = positions.get(node.id);
    return position ? { ...node, position } : node;
  });
}

/** Give a setting a value; undefined takes it away, so that it has its default. */
export function changeSetting(
  graph: IGraph,
  id: string,
  name: string,
  value: unknown
): IGraph {
  return mapNodes(graph, node => {
    if (node.id !== id) {
      return node;
    }
    const settings: { [name: string]: unknown } = { ...node.settings };
    if (value === undefined) {
      delete settings[name];
    } else {
      settings[name] = value;
    }
    return { ...node, settings };
  });
}

/** Why a node may not be called that, in words; null where it may. */
export function renameProblem(
  graph: IGraph,
  from: string,
  to: string
): string | null {
  if (to.trim() === '' || to.length > 200) {
    return 'Give it 1 to 200 characters.';
  }
  return to !== from && graph.nodes.some(node => node.id === to)
    ? `Another node is called ${to} already.`
    : null;
}

/** Give a node another id, which its edges follow. */
export function renameNode(graph: IGraph, from: string, to: string): IGraph {
  const follow = (id: string) => (id === from ? to : id);
  return {
    ...graph,
    nodes: graph.nodes.map(node =>
      node.id === from ? { ...node, id: to } : node
    ),
    edges: graph.edges.map(edge =>
      edge.source === from || edge.target === from
        ? { ...edge, source: follow(edge.source), target: follow(edge.target) }
        : edge
    )
  };
}

/** These nodes with the edges between them. */
export function part(graph: IGraph, ids: ReadonlySet<string>): IGraphJson {
  return {
    nodes: graph.nodes.filter(node => ids.has(node.id)),
    edges: graph.edges.filter(
      edge => ids.has(edge.source) && ids.has(edge.target)
    )
  };
}

/** A graph with what was added to it, and under which ids. */
export interface IInserted {
  readonly graph: IGraph;
  readonly ids: ReadonlySet<string>;
}

/** Add the nodes and edges of another graph, under ids that are free and moved by `shift`. */
export function insert(
  graph: IGraph,
  json: IGraphJson,
  shift: IPoint
): IInserted {
  const given = readGraph(json);
  const taken = new Set(graph.nodes.map(node => node.id));
  const ids = new Map<string, string>();
  for (const node of given.nodes) {
    const id = taken.has(node.id) ? freshId(taken, node.type) : node.id;
    taken.add(id);
    ids.set(node.id, id);
  }
  const renamed = (id: string) => ids.get(id) ?? id;
  const nodes = given.nodes.map(node => ({
    ...node,
    id: renamed(node.id),
    position: node.position && {
      x: node.position.x + shift.x,
      y: node.position.y + shift.y
    }
  }));
  const edges = given.edges.map(edge => ({
    ...edge,
    source: renamed(edge.source),
    target: renamed(edge.target)
  }));
  return {
    graph: {
      ...graph,
      nodes: [...graph.nodes, ...nodes],
      edges: [...graph.edges, ...edges]
    },
    ids: new Set(ids.values())
  };
}

function mapNodes(graph: IGraph, change: (node: INode) => INode): IGraph {
  return { ...graph, nodes: graph.nodes.map(change) };
}

function isObject(value: unknown): value is { [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNode(value: unknown): value is INode {
  return (
    isObject(value) &&
    typeof value.id === 'string' &&
    value.id !== '' &&
    typeof value.type === 'string' &&
    (value.settings === undefined || isObject(value.settings)) &&
    (value.position === undefined || isPoint(value.position))
  );
}

function isPoint(value: unknown): value is IPoint {
  return (
    isObject(value) && Number.isFinite(value.x) && Number.isFinite(value.y)
  );
}

function isEdge(value: unknown): value is IEdge {
  return (
    isObject(value) &&
    ['source', 'source_port', 'target', 'target_port'].every(
      name => typeof value[name] === 'string'
    )
  );
}
