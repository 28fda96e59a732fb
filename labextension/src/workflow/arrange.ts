import { Graph, layout } from '@dagrejs/dagre';

import {
  IGraph,
  IGraphJson,
  IInserted,
  insert,
  IPoint,
  moveNodes,
  readGraph,
  toJson
} from './graph';

/** Width of a node on the canvas, in pixels. */
export const NODE_WIDTH = 212;
/** Height that a node is given in the layout, in pixels: of one that has run, with two lines of how it went. */
export const NODE_HEIGHT = 160;

const GRID = 8;
const MARGIN = 40;
const ROW_GAP = 32;

/** Every node at its place from left to right, in the order of the edges. */
export function arranged(graph: IGraph): IGraph {
  return moveNodes(graph, places(graph));
}

/** The nodes that have no place get one: as a whole where none has, else below the others. */
export function placed(graph: IGraph): IGraph {
  const without = graph.nodes.filter(node => !node.position);
  if (without.length === 0) {
    return graph;
  }
  if (without.length === graph.nodes.length) {
    return arranged(graph);
  }
  const there = graph.nodes.flatMap(node => node.position ?? []);
  const left = Math.min(...there.map(point => point.x));
  const below = Math.max(...there.map(point => point.y)) + NODE_HEIGHT + MARGIN;
  const positions = without.map((node, k): [string, IPoint] => [
    node.id,
    { x: left + k * (NODE_WIDTH + MARGIN), y: below }
  ]);
  return moveNodes(graph, new Map(positions));
}

/** Add another graph below what is there. */
export function insertBelow(graph: IGraph, json: IGraphJson): IInserted {
  const y = Math.max(
    0,
    ...graph.nodes.map(node => (node.position?.y ?? 0) + NODE_HEIGHT + ROW_GAP)
  );
  return insert(graph, toJson(placed(readGraph(json))), { x: 0, y });
}

function places(graph: IGraph): Map<string, IPoint> {
  const drawing = new Graph();
  drawing.setGraph({ rankdir: 'LR', nodesep: 20, ranksep: 48 });
  drawing.setDefaultEdgeLabel(() => ({}));
  for (const node of graph.nodes) {
    drawing.setNode(node.id, { width: NODE_WIDTH, height: NODE_HEIGHT });
  }
  for (const edge of graph.edges) {
    drawing.setEdge(edge.source, edge.target);
  }
  layout(drawing);
  const snapped = (value: number) => Math.round(value / GRID) * GRID;
  return new Map(
    graph.nodes.map(({ id }) => {
      const { x = 0, y = 0 } = drawing.node(id);
      return [
        id,
        { x: snapped(x - NODE_WIDTH / 2), y: snapped(y - NODE_HEIGHT / 2) }
      ];
    })
  );
}
