import { Edge, Node } from '@xyflow/react';

import { Catalogue, IPort } from './catalogue';
import { edgeKey, IEdge, IGraph, IPoint } from './graph';
import { IIssue } from './transport';

/** What a card on the canvas is drawn from; its settings it reads by its id, so that an edit of them changes no other card. */
export type FlowNode = Node<
  {
    /** Name of its node type. */
    type: string;
    /** Its place in the graph. */
    place: IPoint | undefined;
    inputs: readonly IPort[];
    outputs: readonly IPort[];
    /** `inputs cohort`, `outputs split`, …: the ports that have an edge. */
    connected: readonly string[];
  },
  'card'
>;

/** How the whole graph is shown. */
export const FIT = { padding: 0.08, maxZoom: 1 };

/** JupyterLab gives keys to the notebook's commands (`d d` deletes a cell) unless the element under the focus says this. */
const SUPPRESS = { 'data-lm-suppress-shortcuts': 'true' } as const;

/**
 * The nodes of the canvas for a graph; those that did not change are the ones there were, with what was measured of them, and
 * all of them where none did.
 */
export function flowNodes(
  graph: IGraph,
  catalogue: Catalogue,
  selected: ReadonlySet<string>,
  before: FlowNode[]
): FlowNode[] {
  const known = new Map(before.map(node => [node.id, node]));
  const edgesOf = new Map<string, IEdge[]>();
  for (const edge of graph.edges) {
    for (const id of new Set([edge.source, edge.target])) {
      const there = edgesOf.get(id);
      if (there) {
        there.push(edge);
      } else {
        edgesOf.set(id, [edge]);
      }
    }
  }
  const drawn = graph.nodes.map((node): FlowNode => {
    const edges = edgesOf.get(node.id) ?? [];
    const { inputs, outputs } = catalogue.ports(node, edges);
    const connected = edges.map(edge =>
      edge.source === node.id
        ? `outputs ${edge.source_port}`
        : `inputs ${edge.target_port}`
    );
    const old = known.get(node.id);
    const unchanged =
      old?.data.type === node.type &&
      old.data.place === node.position &&
      old.selected === selected.has(node.id) &&
      sameItems(old.data.inputs, inputs) &&
      sameItems(old.data.outputs, outputs) &&
      sameItems(old.data.connected, connected);
    return old && unchanged
      ? old
      : {
          ...old,
          id: node.id,
          type: 'card',
          position: node.position ?? { x: 0, y: 0 },
          selected: selected.has(node.id),
          data: {
            type: node.type,
            place: node.position,
            inputs,
            outputs,
            connected
          },
          ariaLabel: `${catalogue.get(node.type)?.title ?? node.type}, ${node.id}`,
          domAttributes: SUPPRESS as FlowNode['domAttributes']
        };
  });
  return sameItems(drawn, before) ? before : drawn;
}

/** The edges of the canvas; those that did not change are the ones there were, and all of them where none did. */
export function flowEdges(
  edges: readonly IEdge[],
  selected: ReadonlySet<string>,
  issues: readonly IIssue[],
  before: Edge[]
): Edge[] {
  const known = new Map(before.map(edge => [edge.id, edge]));
  const wrong = new Set(issues.map(issue => issue.edge));
  const drawn = edges.map((edge, place) => {
    const id = edgeKey(edge);
    const className = wrong.has(place) ? 'mf-flow-edge-wrong' : undefined;
    const old = known.get(id);
    if (old?.selected === selected.has(id) && old.className === className) {
      return old;
    }
    return {
      id,
      source: edge.source,
      sourceHandle: edge.source_port,
      target: edge.target,
      targetHandle: edge.target_port,
      selected: selected.has(id),
      className,
      domAttributes: SUPPRESS as Edge['domAttributes']
    };
  });
  return sameItems(drawn, before) ? before : drawn;
}

function sameItems(
  one: readonly unknown[],
  other: readonly unknown[]
): boolean {
  return (
    one.length === other.length && one.every((item, k) => item === other[k])
  );
}
