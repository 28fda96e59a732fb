import {
  applyNodeChanges,
  Background,
  BackgroundVariant,
  Connection,
  Controls,
  Edge,
  EdgeChange,
  FinalConnectionState,
  MiniMap,
  NodeChange,
  ReactFlow,
  ReactFlowState,
  useReactFlow,
  useStore,
  useStoreApi
} from '@xyflow/react';
import * as React from 'react';

import { AddMenu, IAddition } from './addMenu';
import { NODE_HEIGHT, NODE_WIDTH } from './arrange';
import { INodeType } from './catalogue';
import { useEditor, useModel, useWords } from './context';
import { EmptyCanvas } from './emptyCanvas';
import { FIT, FlowNode, flowEdges, flowNodes } from './flowNodes';
import { IEdge, INode, IPoint, nodeOf } from './graph';
import { NodeCard } from './nodeCard';
import { DRAGGED } from './palette';

const NODE_TYPES = { card: NodeCard };
const GRID: [number, number] = [8, 8];
const SEVERAL = ['Control', 'Meta', 'Shift'];
const NO_ATTRIBUTION = { hideAttribution: true };
/** Below this zoom cards are drawn with less, larger. */
const FAR = 0.66;
/** From this many nodes on there is something to find in a map of them. */
const MAP_FROM = 20;

/**
 * The graph, to be moved about, connected and selected with the mouse. active: whether the wheel zooms; openNode: called for a
 * double click on a node, which is selected then.
 */
export function Canvas(props: {
  active: boolean;
  openNode: () => void;
}): React.JSX.Element {
  const model = useModel();
  const trans = useWords();
  const flow = useReactFlow<FlowNode>();
  const box = React.useRef<HTMLDivElement>(null);
  const empty = useEditor(state => state.graph.nodes.length === 0);
  const [nodes, changeNodes] = useFlowNodes();
  const edges = useFlowEdges();
  const zoom = useStore(state => drawnZoom(state.transform[2]));
  // a canvas that was empty stays where it is when the first node is put on it
  const [begunWithNodes] = React.useState(!empty);
  const [addition, setAddition] = React.useState<IAddition | null>(null);

  // all that the canvas is given is the same from one edit to the next: it goes through every node for each that is not
  const offerAt = React.useCallback(
    (at: IPoint, from?: IAddition['from']) => {
      const bounds = box.current?.getBoundingClientRect();
      if (bounds) {
        setAddition({
          at: {
            x: Math.min(at.x - bounds.left, bounds.width - 240),
            y: Math.max(0, Math.min(at.y - bounds.top, bounds.height - 260))
          },
          place: flow.screenToFlowPosition(at, { snapToGrid: true }),
          from
        });
      }
    },
    [flow]
  );
  const onEdgesChange = React.useCallback(
    (changes: EdgeChange[]) => {
      const selected = new Set(model.state.edges);
      for (const change of changes) {
        if (change.type === 'select') {
          toggle(selected, change.id, change.selected);
        }
      }
      model.select(model.state.nodes, selected);
    },
    [model]
  );
  const onConnect = React.useCallback(
    (connection: Connection) => model.connect(edgeOf(connection)),
    [model]
  );
  const isValid = React.useCallback(
    (connection: Connection | Edge) =>
      model.connectionProblem(edgeOf(connection)) === null,
    [model]
  );
  const onConnectEnd = React.useCallback(
    (event: MouseEvent | TouchEvent, drawn: FinalConnectionState) => {
      const { fromHandle, toNode, isValid } = drawn;
      if (isValid || toNode || !fromHandle?.id || !('clientX' in event)) {
        return;
      }
      offerAt(
        { x: event.clientX, y: event.clientY },
        {
          node: fromHandle.nodeId,
          port: fromHandle.id,
          side: fromHandle.type === 'source' ? 'outputs' : 'inputs'
        }
      );
    },
    [offerAt]
  );

  const onDrop = (event: React.DragEvent) => {
    const type = model.state.catalogue.get(event.dataTransfer.getData(DRAGGED));
    if (type) {
      event.preventDefault();
      event.stopPropagation();
      const place = flow.screenToFlowPosition(
        { x: event.clientX - NODE_WIDTH / 3, y: event.clientY - 20 },
        { snapToGrid: true }
      );
      model.add(type, place);
    }
  };

  return (
    <div
      className={zoom < FAR ? 'mf-flow-canvas mf-flow-far' : 'mf-flow-canvas'}
      data-empty={empty || undefined}
      style={{ '--mf-flow-zoom': zoom } as React.CSSProperties}
      ref={box}
      onDrop={onDrop}
      onDragOver={event => {
        if (event.dataTransfer.types.includes(DRAGGED)) {
          event.preventDefault();
          event.stopPropagation();
        }
      }}
      onDoubleClick={event => {
        const target = event.target as Element;
        if (target.classList.contains('react-flow__pane')) {
          offerAt({ x: event.clientX, y: event.clientY });
        } else if (target.closest('.react-flow__node')) {
          props.openNode();
        }
      }}
    >
      <ReactFlow<FlowNode>
        nodes={nodes}
        edges={edges}
        nodeTypes={NODE_TYPES}
        onNodesChange={changeNodes}
        onEdgesChange={onEdgesChange}
        onConnect={onConnect}
        onConnectEnd={onConnectEnd}
        isValidConnection={isValid}
        deleteKeyCode={null}
        selectionKeyCode="Shift"
        multiSelectionKeyCode={SEVERAL}
        zoomOnDoubleClick={false}
        zoomOnScroll={props.active}
        preventScrolling={props.active}
        snapToGrid
        snapGrid={GRID}
        minZoom={0.1}
        maxZoom={2}
        connectionRadius={28}
        fitView={begunWithNodes}
        fitViewOptions={FIT}
        proOptions={NO_ATTRIBUTION}
      >
        <Background variant={BackgroundVariant.Dots} gap={16} size={1} />
        <Controls
          showInteractive={false}
          fitViewOptions={FIT}
          aria-label={trans.__('Zoom')}
        />
        {nodes.length >= MAP_FROM && (
          <MiniMap
            pannable
            zoomable
            nodeBorderRadius={4}
            ariaLabel={trans.__('Map of the workflow')}
          />
        )}
      </ReactFlow>
      {empty && <EmptyCanvas />}
      {addition && (
        <AddMenu
          addition={addition}
          add={type => {
            model.add(type, addition.place, addition.from);
            setAddition(null);
          }}
          close={() => setAddition(null)}
        />
      )}
    </div>
  );
}

/**
 * The zoom that cards are drawn for. It has few steps: each lays all of them out anew. From near they are all the same, and
 * from far letters grow no more.
 */
function drawnZoom(zoom: number): number {
  return zoom < FAR ? Math.max(0.45, Math.round(zoom * 10) / 10) : 1;
}

/** Add a node after the selected one and connected to it, else in the middle of the canvas, and have it in sight. */
export function useAddNode(): (type: INodeType) => void {
  const model = useModel();
  const flow = useReactFlow<FlowNode>();
  const store = useStoreApi<FlowNode>();
  return type => {
    const { graph, nodes, catalogue } = model.state;
    const [only, ...others] = nodes;
    const node = nodeOf(graph, only);
    if (node?.position && others.length === 0) {
      const outputs = catalogue.get(node.type)?.outputs ?? [];
      const output = outputs.find(port =>
        type.inputs.some(input => input.type === port.type)
      );
      const { x, y } = node.position;
      const place = free({ x: x + NODE_WIDTH + 72, y }, graph.nodes);
      model.add(
        type,
        place,
        output && { node: node.id, port: output.name, side: 'outputs' }
      );
      if (!isInSight(place, store.getState())) {
        const middle = { x: place.x + NODE_WIDTH / 2, y: place.y };
        const zoom = flow.getZoom();
        void flow.setCenter(middle.x, middle.y, { zoom, duration: 200 });
      }
      return;
    }
    const bounds = store.getState().domNode?.getBoundingClientRect();
    const middle = flow.screenToFlowPosition({
      x: bounds ? bounds.left + bounds.width / 2 - NODE_WIDTH / 2 : 0,
      y: bounds ? bounds.top + bounds.height / 2 - NODE_HEIGHT / 2 : 0
    });
    model.add(type, free(middle, graph.nodes));
  };
}

/** Whether a node at `place` lies within what is seen of the canvas. */
function isInSight(
  place: IPoint,
  canvas: Pick<ReactFlowState, 'transform' | 'width' | 'height'>
): boolean {
  const [left, top, zoom] = canvas.transform;
  const x = place.x * zoom + left;
  const y = place.y * zoom + top;
  return (
    x >= 0 &&
    y >= 0 &&
    x + NODE_WIDTH * zoom <= canvas.width &&
    y + NODE_HEIGHT * zoom <= canvas.height
  );
}

/**
 * The nodes of the canvas: those of the graph, with what the canvas itself says of them, such as where one is while it is
 * dragged. What they are drawn for is in one state with them: of two, React may keep the one and forget the other.
 */
function useFlowNodes(): [
  FlowNode[],
  (changes: NodeChange<FlowNode>[]) => void
] {
  const model = useModel();
  const flow = useReactFlow<FlowNode>();
  const graph = useEditor(state => state.graph);
  const catalogue = useEditor(state => state.catalogue);
  const selected = useEditor(state => state.nodes);
  const [drawn, setDrawn] = React.useState(() => ({
    graph,
    catalogue,
    selected,
    nodes: flowNodes(graph, catalogue, selected, [])
  }));
  let { nodes } = drawn;
  if (
    drawn.graph !== graph ||
    drawn.catalogue !== catalogue ||
    drawn.selected !== selected
  ) {
    nodes = flowNodes(graph, catalogue, selected, nodes);
    setDrawn({ graph, catalogue, selected, nodes });
  }
  const change = React.useCallback(
    (changes: NodeChange<FlowNode>[]) => {
      const now = new Set(model.state.nodes);
      for (const one of changes) {
        if (one.type === 'select') {
          toggle(now, one.id, one.selected);
        }
      }
      model.select(now, model.state.edges);
      const others = changes.filter(
        one => one.type === 'position' || one.type === 'dimensions'
      );
      if (others.length > 0) {
        setDrawn(before => ({
          ...before,
          nodes: applyNodeChanges(others, before.nodes)
        }));
      }
      const moved = changes.filter(
        one => one.type === 'position' && one.position && one.dragging === false
      ) as { id: string; position: IPoint }[];
      if (moved.length > 0) {
        const dragged = flow.getNodes().some(one => one.dragging);
        model.move(
          new Map(moved.map(one => [one.id, one.position])),
          dragged ? 'mouse' : 'keys'
        );
      }
    },
    [model, flow]
  );
  return [nodes, change];
}

/** The edges of the canvas. A change of a node alone draws none anew, one of an edge that edge alone. */
function useFlowEdges(): Edge[] {
  const edges = useEditor(state => state.graph.edges);
  const selected = useEditor(state => state.edges);
  const issues = useEditor(state => state.issues);
  const [drawn, setDrawn] = React.useState(() => ({
    edges,
    selected,
    issues,
    flow: flowEdges(edges, selected, issues, [])
  }));
  if (
    drawn.edges === edges &&
    drawn.selected === selected &&
    drawn.issues === issues
  ) {
    return drawn.flow;
  }
  const flow = flowEdges(edges, selected, issues, drawn.flow);
  setDrawn({ edges, selected, issues, flow });
  return flow;
}

function toggle(ids: Set<string>, id: string, on: boolean): void {
  if (on) {
    ids.add(id);
  } else {
    ids.delete(id);
  }
}

function edgeOf(connection: Connection | Edge): IEdge {
  return {
    source: connection.source,
    source_port: connection.sourceHandle ?? '',
    target: connection.target,
    target_port: connection.targetHandle ?? ''
  };
}

/** A place at `point` or below it where no node lies. */
function free(point: IPoint, nodes: readonly INode[]): IPoint {
  const taken = nodes.some(
    ({ position }) =>
      position &&
      Math.abs(position.x - point.x) < NODE_WIDTH &&
      Math.abs(position.y - point.y) < NODE_HEIGHT
  );
  return taken
    ? free({ x: point.x, y: point.y + NODE_HEIGHT + 32 }, nodes)
    : point;
}
