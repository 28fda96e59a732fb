import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  arranged,
  NODE_HEIGHT,
  NODE_WIDTH,
  placed
} from '../src/workflow/arrange';
import { changedSince } from '../src/workflow/changedSince';
import { Catalogue, INodeType } from '../src/workflow/catalogue';
import {
  connected,
  connectionProblem,
  edgeBetween,
  portFor
} from '../src/workflow/connection';
import { isStopping, progressOf, runLine } from '../src/workflow/execution';
import { flowNodes } from '../src/workflow/flowNodes';
import * as edit from '../src/workflow/graph';
import { IEdge, IGraph, readGraph, toJson } from '../src/workflow/graph';
import { History } from '../src/workflow/history';

const port = (name: string, type: string, more = {}) => ({
  name,
  type,
  help: '',
  ...more
});

const TYPES: INodeType[] = [
  type('source.synthetic', 'Sources', [], [port('cohort', 'cohort')]),
  {
    ...type(
      'cohort.split',
      'Cohort',
      [port('cohort', 'cohort')],
      [port('split', 'split')]
    ),
    settings: { properties: { test: { type: 'number', default: 0.2 } } }
  },
  type('train', 'Training', [port('split', 'split')], [port('model', 'model')]),
  type(
    'fusion',
    'Model',
    [port('models', 'model', { several: true })],
    [port('model', 'model')]
  )
];
const CATALOGUE = new Catalogue(TYPES);

function type(
  name: string,
  family: string,
  inputs: INodeType['inputs'],
  outputs: INodeType['outputs']
): INodeType {
  return { name, family, title: name, help: '', inputs, outputs, settings: {} };
}

const node = (id: string, kind: string) => ({ id, type: kind, settings: {} });
const edge = (
  source: string,
  source_port: string,
  target: string,
  target_port: string
): IEdge => ({ source, source_port, target, target_port });

const STUDY = readGraph({
  nodes: [
    node('a', 'source.synthetic'),
    node('b', 'source.synthetic'),
    node('split', 'cohort.split'),
    node('train', 'train'),
    node('fusion', 'fusion')
  ],
  edges: [
    edge('a', 'cohort', 'split', 'cohort'),
    edge('split', 'split', 'train', 'split'),
    edge('train', 'model', 'fusion', 'models')
  ]
});

test('stored JSON is written back as it was, whatever it holds', () => {
  const json = {
    nodes: [
      { id: 'a', type: 'gone.away', settings: { x: [1] }, colour: 'red' },
      { id: 'a', type: 'train', settings: {} },
      { type: 'without id' },
      7
    ],
    edges: [
      { ...edge('a', 'x', 'a2', 'y'), note: 'to nowhere' },
      edge('a', 'x', 'a', 'y'),
      null
    ]
  };
  const graph = readGraph(json);
  assert.equal(graph.nodes.length, 1);
  assert.equal(graph.edges.length, 1);
  const written = toJson(graph);
  const sorted = (items: readonly unknown[]) =>
    items.map(item => JSON.stringify(item)).sort();
  assert.deepEqual(sorted(written.nodes), sorted(json.nodes));
  assert.deepEqual(sorted(written.edges), sorted(json.edges));
});

test('an edge leads only between ports of one type, and never in a circle', () => {
  const problem = (one: IEdge) => connectionProblem(STUDY, CATALOGUE, one);
  assert.equal(problem(edge('b', 'cohort', 'split', 'cohort')), null);
  assert.match(
    problem(edge('a', 'cohort', 'train', 'split')) ?? '',
    /takes a split/
  );
  assert.match(
    problem(edge('fusion', 'model', 'fusion', 'models')) ?? '',
    /need one another/
  );
  assert.match(
    problem(edge('a', 'cohort', 'split', 'cohort')) ?? '',
    /already/
  );
  assert.match(problem(edge('a', 'x', 'split', 'cohort')) ?? '', /not known/);
});

test('a new edge takes the place of the one that an input had, unless it takes several', () => {
  const drawn = (one: IEdge) => connected(STUDY, CATALOGUE, one).edges;
  const other = edge('b', 'cohort', 'split', 'cohort');
  assert.deepEqual(drawn(other), [...STUDY.edges.slice(1), other]);
  const another = edge('other', 'model', 'fusion', 'models');
  assert.deepEqual(drawn(another), [...STUDY.edges, another]);
});

test('an edge can be drawn from either of its ends', () => {
  const output = { node: 'a', port: 'cohort', side: 'outputs' } as const;
  const input = { node: 'split', port: 'cohort', side: 'inputs' } as const;
  const drawn = edge('a', 'cohort', 'split', 'cohort');
  assert.deepEqual(edgeBetween(output, input), drawn);
  assert.deepEqual(edgeBetween(input, output), drawn);
  assert.equal(edgeBetween(output, output), null);
});

test('an edge that ends in the void offers the nodes that could take it', () => {
  const end = { node: 'split', port: 'split', side: 'outputs' } as const;
  const taken = TYPES.filter(one => portFor(STUDY, CATALOGUE, one, end));
  assert.deepEqual(
    taken.map(one => one.name),
    ['train']
  );
});

test('a node that goes takes its edges with it', () => {
  const left = edit.remove(STUDY, new Set(['split']), new Set());
  assert.deepEqual(
    left.edges.map(one => one.target),
    ['fusion']
  );
});

test('the edges follow a node that is given another id', () => {
  const renamed = edit.renameNode(STUDY, 'split', 'parts');
  assert.deepEqual(
    renamed.edges.map(one => [one.source, one.target]),
    [
      ['a', 'parts'],
      ['parts', 'train'],
      ['train', 'fusion']
    ]
  );
});

test('copies have ids of their own, and the edges among them', () => {
  const part = edit.part(STUDY, new Set(['split', 'train']));
  const { graph, ids } = edit.insert(STUDY, part, { x: 0, y: 0 });
  assert.deepEqual([...ids], ['split_2', 'train_2']);
  assert.deepEqual(
    graph.edges.at(-1),
    edge('split_2', 'split', 'train_2', 'split')
  );
  assert.equal(graph.nodes.length, 7);
});

test('a setting that is taken away has its default again', () => {
  const set = edit.changeSetting(STUDY, 'train', 'lr', 0.1);
  assert.deepEqual(set.nodes[3]?.settings, { lr: 0.1 });
  const unset = edit.changeSetting(set, 'train', 'lr', undefined);
  assert.deepEqual(unset.nodes[3]?.settings, {});
});

test('ports that no type declares are shown where an edge names them', () => {
  const unknown = node('x', 'gone.away');
  const { inputs, outputs } = CATALOGUE.ports(unknown, [
    edge('a', 'cohort', 'x', 'table'),
    edge('x', 'made', 'y', 'in')
  ]);
  assert.deepEqual(
    [inputs, outputs].map(ports => ports.map(one => one.name)),
    [['table'], ['made']]
  );
});

test('the palette is searched by words in any order, and keeps its families', () => {
  const found = CATALOGUE.families('split coh');
  assert.deepEqual(
    found.map(([family, types]) => [family, types.map(one => one.name)]),
    [['Cohort', ['cohort.split']]]
  );
  assert.equal(CATALOGUE.families('nothing like it').length, 0);
  // what is called so comes before what only tells of it
  const told = { ...type('table', 'Cohort', [], []), help: 'before you train' };
  const [[, [first]], [, [second]]] = new Catalogue([told, ...TYPES]).families(
    'train'
  );
  assert.deepEqual([first.name, second.name], ['train', 'table']);
});

test('letters typed into one setting are taken back together', () => {
  const history = new History('');
  history.commit('a', 'train name');
  history.commit('ab', 'train name');
  history.commit('ab!');
  history.undo();
  assert.equal(history.present, 'ab');
  history.undo();
  assert.equal(history.present, '');
  history.redo();
  history.redo();
  assert.equal(history.present, 'ab!');
  history.undo();
  history.commit('other');
  assert.equal(history.canRedo, false);
});

test('a layout goes from left to right and puts no node on another', () => {
  const graph = arranged(STUDY);
  const place = (id: string) =>
    graph.nodes.find(one => one.id === id)?.position ?? { x: NaN, y: NaN };
  assert.ok(place('a').x < place('split').x);
  assert.ok(place('split').x < place('train').x);
  const boxes = graph.nodes.map(one => place(one.id));
  for (const [k, one] of boxes.entries()) {
    for (const other of boxes.slice(k + 1)) {
      assert.ok(
        Math.abs(one.x - other.x) >= NODE_WIDTH ||
          Math.abs(one.y - other.y) >= NODE_HEIGHT
      );
    }
  }
});

test('nodes that have a place keep it', () => {
  const moved = edit.moveNodes(STUDY, new Map([['a', { x: 5, y: 7 }]]));
  const graph = placed(moved);
  assert.deepEqual(graph.nodes[0]?.position, { x: 5, y: 7 });
  assert.ok(graph.nodes.every(one => one.position));
});

test('a node says how its run goes in one line', () => {
  const run = {
    node_id: 'train',
    status: 'running' as const,
    output: { job_id: 'job_0001' },
    error: null,
    started_at: '2026-11-24T10:00:00Z',
    completed_at: null
  };
  const job = {
    job_id: 'job_0001',
    status: 'running' as const,
    progress: 0.6,
    current_epoch: 12,
    total_epochs: 20,
    watched_metric: 'val/auroc',
    current_metrics: { 'val/auroc': 0.8741 },
    seconds_left: 180
  };
  assert.equal(runLine(run, job), 'AUROC 0.874 · epoch 12/20 · 3 min left');
  assert.equal(progressOf(run, job), 0.6);
  assert.equal(progressOf(run, undefined), null);
  const ended = {
    ...run,
    status: 'completed' as const,
    output: { auroc: { value: 0.819, low: 0.707, high: 0.894 } },
    completed_at: '2026-11-24T10:00:00.400Z'
  };
  assert.equal(runLine(ended, undefined), 'AUROC 0.819 [0.71, 0.89] · 0.4 s');
  const cached = {
    ...ended,
    status: 'cached' as const,
    output: { rows: 1200 }
  };
  assert.equal(runLine(cached, undefined), '1,200 rows · cached');
  const failed = {
    ...ended,
    status: 'failed' as const,
    error: 'ValueError: no'
  };
  assert.equal(runLine(failed, undefined), 'ValueError: no');
});

test('a changed node and all behind it were changed since, whatever they are called', () => {
  const changed = (now: IGraph) => [...changedSince(STUDY, now, CATALOGUE)];
  assert.deepEqual(changed(STUDY), []);
  const set = (name: string, value: unknown) =>
    edit.changeSetting(STUDY, 'split', name, value);
  assert.deepEqual(changed(set('seed', 3)), ['split', 'train', 'fusion']);
  assert.deepEqual(changed(set('test', 0.2)), [], 'that is its default');
  const renamed = edit.renameNode(STUDY, 'split', 'parts');
  assert.deepEqual(changed(renamed), ['parts'], 'nothing is known of it alone');
  const without = edit.remove(STUDY, new Set(['train']), new Set());
  assert.deepEqual(changed(without), ['fusion']);
  const other = connected(
    STUDY,
    CATALOGUE,
    edge('b', 'cohort', 'split', 'cohort')
  );
  assert.deepEqual(changed(other), [], 'the other cohort is the same');
});

test('a circle made by hand is no trouble', () => {
  const circle = edge('fusion', 'model', 'split', 'cohort');
  const now = edit.addEdge(STUDY, circle);
  assert.deepEqual([...changedSince(STUDY, now, CATALOGUE)].sort(), [
    'fusion',
    'split',
    'train'
  ]);
});

test('an edit draws anew only the cards that it changes', () => {
  const catalogue = new Catalogue(TYPES);
  const graph = arranged(
    readGraph({
      nodes: ['a', 'b', 'c'].map(id => ({ id, type: TYPES[0].name })),
      edges: []
    })
  );
  const none = new Set<string>();
  const first = flowNodes(graph, catalogue, none, []);
  // a setting is the card's own matter
  const set = edit.changeSetting(graph, 'b', 'n', 3);
  assert.equal(flowNodes(set, catalogue, none, first), first);
  assert.deepEqual(edit.nodeOf(set, 'b')?.settings, { n: 3 });
  assert.deepEqual(edit.nodeOf(graph, 'b')?.settings, {});
  const moved = edit.moveNodes(set, new Map([['b', { x: 1, y: 2 }]]));
  const after = flowNodes(moved, catalogue, none, first);
  assert.deepEqual(
    after.map((node, k) => node === first[k]),
    [true, false, true]
  );
  const selected = flowNodes(moved, catalogue, new Set(['c']), after);
  assert.deepEqual(
    selected.map((node, k) => node === after[k]),
    [true, true, false]
  );
});

test('an execution that was asked to stop is stopping until it has ended', () => {
  const execution = {
    id: 1,
    workflow_id: 1,
    version: 1,
    status: 'running' as const,
    error: null,
    created_at: '',
    started_at: '',
    completed_at: null,
    stop_requested_at: '2026-01-01T00:00:00Z',
    nodes: []
  };
  assert.equal(isStopping(execution), true);
  assert.equal(isStopping({ ...execution, stop_requested_at: null }), false);
  assert.equal(isStopping({ ...execution, status: 'stopped' }), false);
  assert.equal(isStopping(null), false);
});
