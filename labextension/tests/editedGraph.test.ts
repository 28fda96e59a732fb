import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Clipboard } from '../src/workflow/clipboard';
import { EditedGraph } from '../src/workflow/editedGraph';
import { IExecution, INodeRun } from '../src/workflow/execution';
import { changeSetting, EMPTY, readGraph } from '../src/workflow/graph';
import { NO_RUNS, withExecution, withJob } from '../src/workflow/runs';

const SPLIT = { id: 'split', type: 'cohort.split', settings: {} };
const STORED = { nodes: [SPLIT], edges: [] };

test('places that nodes are given to be drawn are no change of what is saved', () => {
  const edited = new EditedGraph();
  edited.show(STORED);
  assert.ok(edited.now.nodes[0]?.position);
  assert.deepEqual(edited.json, STORED);
  edited.commit(changeSetting(edited.now, 'split', 'seed', 3));
  assert.ok(!edited.isSaved);
  assert.ok(edited.json.nodes.every(node => 'position' in Object(node)));
});

test('what is stored comes without an undo at first, and with one in place of other work', () => {
  const edited = new EditedGraph();
  edited.show(STORED);
  assert.ok(!edited.canUndo);
  edited.show({ nodes: [], edges: [] });
  assert.ok(edited.canUndo && edited.isSaved);
});

test('what is edited while it is being saved is not saved', () => {
  const edited = new EditedGraph();
  edited.show(STORED);
  const sent = edited.now;
  edited.commit(changeSetting(sent, 'split', 'seed', 3));
  edited.markSaved(sent);
  assert.ok(!edited.isSaved);
  edited.undo();
  assert.ok(edited.isSaved);
});

test('each paste of the same lies a little further off', () => {
  const clipboard = new Clipboard();
  const graph = readGraph({
    nodes: [{ ...SPLIT, position: { x: 8, y: 8 } }],
    edges: []
  });
  const text = clipboard.copy(graph, new Set(['split'])) ?? '';
  const places = [1, 2].map(
    () => clipboard.paste(EMPTY, text)?.graph.nodes[0]?.position?.x
  );
  assert.deepEqual(places, [40, 72]);
  assert.equal(clipboard.copy(graph, new Set()), null);
});

test('what is not new of an execution stays the same object, and jobs go with their nodes', () => {
  const done: INodeRun = {
    node_id: 'split',
    status: 'completed',
    output: null,
    error: null,
    started_at: null,
    completed_at: null
  };
  const training = { ...done, node_id: 'train', output: { job_id: 'job_1' } };
  const execution = { id: 4, nodes: [done, training] } as unknown as IExecution;
  const job = { job_id: 'job_1' } as Parameters<typeof withJob>[1];
  const first = withExecution(NO_RUNS, execution);
  const known = { ...first, ...withJob(first, job) };
  const again = withExecution(known, {
    ...execution,
    nodes: [{ ...done }, { ...training, status: 'failed' }]
  });
  assert.equal(again.runs.get('split'), known.runs.get('split'));
  assert.equal(again.runs.get('train')?.status, 'failed');
  assert.equal(again.jobs.size, 1);
  assert.equal(
    withExecution(again, { ...execution, id: 5, nodes: [] }).jobs.size,
    0
  );
  assert.equal(withExecution(again, { ...execution, id: 3 }), again);
});
