import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RefusedError } from '../src/refused';
import { EditorModel } from '../src/workflow/editorModel';
import { IGraphJson } from '../src/workflow/graph';
import { IExecution } from '../src/workflow/execution';
import {
  IOpened,
  ITransport,
  IWorkflow,
  News
} from '../src/workflow/transport';

// the model uses the browser's clock alone
Object.assign(globalThis, { window: globalThis });

/** A store in memory, which refuses what was made on an old version as the real one does. */
class Store implements ITransport {
  stored: IWorkflow = { name: 'icu', version: 1, nodes: [], edges: [] };
  draft: IOpened['draft'] = null;
  runs = 0;
  versions = null;
  nodeTypes = async () => [
    {
      name: 'source.synthetic',
      family: 'Sources',
      title: 'Synthetic cohort',
      help: '',
      inputs: [],
      outputs: [{ name: 'cohort', type: 'cohort', help: '' }],
      settings: {}
    },
    {
      name: 'cohort.split',
      family: 'Cohort',
      title: 'Split',
      help: '',
      inputs: [{ name: 'cohort', type: 'cohort', help: '' }],
      outputs: [],
      settings: {}
    }
  ];
  templates = async () => [];
  open = async () => ({ workflow: this.stored, draft: this.draft });
  check = async () => [];
  save = async (graph: IGraphJson, version: number | null) => {
    if (version !== this.stored.version) {
      throw new RefusedError(409, 'changed meanwhile');
    }
    this.stored = { ...this.stored, ...graph, version: (version ?? 0) + 1 };
    return this.stored;
  };
  run = async () => {
    this.runs += 1;
    return execution('running');
  };
  stop = async () => undefined;
  lastExecution = async () => null;
  executed = async () => this.stored;
  follow = (listener: (news: News) => void) => {
    this.tell = listener;
  };
  tell: (news: News) => void = () => undefined;
  dispose = () => undefined;
}

function execution(status: IExecution['status']): IExecution {
  return {
    id: 1,
    workflow_id: 1,
    version: 2,
    status,
    error: null,
    created_at: '',
    stop_requested_at: null,
    started_at: null,
    completed_at: null,
    nodes: []
  };
}

async function opened(store = new Store()): Promise<[EditorModel, Store]> {
  const model = new EditorModel(store);
  await model.open();
  return [model, store];
}

function add(model: EditorModel, name: string, from?: string): void {
  const type = model.state.catalogue.get(name);
  assert.ok(type);
  const end = from
    ? ({ node: from, port: 'cohort', side: 'outputs' } as const)
    : undefined;
  model.add(type, { x: 0, y: 0 }, end);
}

test('a node added at the end of an edge is connected', async () => {
  const [model] = await opened();
  add(model, 'source.synthetic');
  add(model, 'cohort.split', 'synthetic');
  assert.equal(model.state.graph.edges.length, 1);
  assert.deepEqual([...model.state.nodes], ['split']);
  model.dispose();
});

test('what is undone to the saved graph is saved', async () => {
  const [model] = await opened();
  add(model, 'source.synthetic');
  assert.ok(model.state.unsaved);
  model.undo();
  assert.ok(!model.state.unsaved);
  model.redo();
  assert.ok(model.state.unsaved);
  model.dispose();
});

test('a run saves first', async () => {
  const [model, store] = await opened();
  add(model, 'source.synthetic');
  await model.run();
  assert.equal(store.stored.version, 2);
  assert.equal(store.runs, 1);
  assert.equal(model.state.execution?.status, 'running');
  await model.run();
  assert.equal(store.runs, 1, 'one at work is not begun again');
  model.dispose();
});

test('who saves second is told, and overwrites nothing', async () => {
  const [model, store] = await opened();
  add(model, 'source.synthetic');
  const theirs = { id: 'theirs', type: 'cohort.split', settings: {} };
  store.stored = { ...store.stored, nodes: [theirs], version: 2 };
  assert.equal(await model.save(), false);
  assert.equal(model.state.notice?.kind, 'conflict');
  assert.deepEqual(store.stored.nodes, [theirs]);
  assert.equal(store.runs, 0);

  await model.takeTheirs();
  assert.deepEqual(
    model.state.graph.nodes.map(node => node.id),
    ['theirs']
  );
  model.undo();
  assert.deepEqual(
    model.state.graph.nodes.map(node => node.id),
    ['synthetic'],
    'mine is one undo away'
  );
  model.dispose();
});

test('who saves second may save on top, and theirs is a version', async () => {
  const [model, store] = await opened();
  add(model, 'source.synthetic');
  store.stored = { ...store.stored, version: 2 };
  await model.save();
  await model.keepMine();
  assert.equal(store.stored.version, 3);
  assert.equal(model.state.notice, null);
  assert.ok(!model.state.unsaved);
  model.dispose();
});

test('a draft is found again, unsaved and on its own version', async () => {
  const store = new Store();
  const node = { id: 'mine', type: 'cohort.split', settings: {} };
  store.draft = { nodes: [node], edges: [], version: 1 };
  const [model] = await opened(store);
  assert.equal(model.state.graph.nodes[0]?.id, 'mine');
  assert.ok(model.state.unsaved);
  model.dispose();
});

test('what is copied is pasted beside itself, and other text is left alone', async () => {
  const [model] = await opened();
  add(model, 'source.synthetic');
  const text = model.copy() ?? '';
  assert.ok(model.paste(text));
  assert.ok(model.paste(text));
  assert.deepEqual(
    model.state.graph.nodes.map(node => [node.id, node.position?.x]),
    [
      ['synthetic', 0],
      ['synthetic_2', 32],
      ['synthetic_3', 64]
    ]
  );
  assert.ok(!model.paste('{"nodes": 3}'));
  assert.ok(!model.paste('a word'));
  model.dispose();
});

test('two nodes never have one id', async () => {
  const [model] = await opened();
  add(model, 'source.synthetic');
  add(model, 'cohort.split');
  assert.match(model.rename('split', 'synthetic') ?? '', /already/);
  assert.equal(model.rename('split', 'parts'), null);
  assert.deepEqual([...model.state.nodes], ['parts']);
  model.dispose();
});

test('news of an older execution does not hide a newer one', async () => {
  const [model, store] = await opened();
  store.tell({ execution: { ...execution('running'), id: 7 } });
  store.tell({ execution: { ...execution('failed'), id: 6 } });
  assert.equal(model.state.execution?.id, 7);
  model.dispose();
});

test('what code changes is put together with what is edited here, and neither is lost', async () => {
  const [model, store] = await opened();
  const split = {
    id: 'split',
    type: 'cohort.split',
    settings: { seed: 0, test: 0.2 }
  };
  const gone = { id: 'gone', type: 'cohort.split', settings: {} };
  const before = { nodes: [split, gone], edges: [] };
  store.tell({
    graph: { ...before, version: 1, before: { nodes: [], edges: [] } }
  });
  model.changeSetting('split', 'seed', 7);
  add(model, 'source.synthetic');
  // what code made before it heard of that
  const byCode = { id: 'by_code', type: 'cohort.split', settings: {} };
  const changed = { ...split, settings: { seed: 0, test: 0.3 } };
  const now = { nodes: [changed, byCode], edges: [] };
  store.tell({ graph: { ...now, version: 2, before } });
  const { nodes } = model.state.graph;
  assert.deepEqual(
    nodes.map(node => node.id),
    ['split', 'synthetic', 'by_code']
  );
  assert.deepEqual(nodes[0]?.settings, { seed: 7, test: 0.3 });
  assert.equal(model.state.version, 2);
  assert.ok(nodes.every(node => node.position));
  model.dispose();
});

test('what is told of the graph while it opens is not lost', async () => {
  const store = new Store();
  const model = new EditorModel(store);
  const opening = model.open();
  const byCode = { id: 'by_code', type: 'cohort.split', settings: {} };
  store.tell({
    graph: {
      nodes: [byCode],
      edges: [],
      version: 1,
      before: { nodes: [], edges: [] }
    }
  });
  await opening;
  assert.deepEqual(
    model.state.graph.nodes.map(node => node.id),
    ['by_code']
  );
  model.dispose();
});

test('nodes that were changed since their run say so until they are run again', async () => {
  const [model, store] = await opened();
  add(model, 'source.synthetic');
  add(model, 'cohort.split', 'synthetic');
  add(model, 'source.synthetic');
  await model.run();
  await settled();
  assert.deepEqual([...model.state.changed], []);

  model.changeSetting('synthetic', 'n', 500);
  assert.deepEqual([...model.state.changed], ['synthetic', 'split']);
  model.undo();
  assert.deepEqual([...model.state.changed], []);
  model.move(new Map([['synthetic', { x: 8, y: 8 }]]), 'mouse');
  assert.deepEqual([...model.state.changed], []);

  model.changeSetting('synthetic', 'n', 500);
  await model.save();
  store.tell({ execution: { ...execution('running'), id: 2, version: 3 } });
  await settled();
  assert.deepEqual([...model.state.changed], [], 'it is what runs now');
  model.dispose();
});

/** The store's answers have come. */
function settled(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}
