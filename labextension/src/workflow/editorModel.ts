import { RefusedError } from '../refused';
import { arranged, placed } from './arrange';
import { Catalogue, INodeType } from './catalogue';
import {
  connectionProblem,
  edgeBetween,
  IPortPlace,
  portFor,
  replacedBy
} from './connection';
import { IExecution, INodeJob, INodeRun, isActive, jobOf } from './execution';
import * as edit from './graph';
import { EMPTY, IEdge, IGraph, IGraphJson, IPoint, readGraph } from './graph';
import { History } from './history';
import { merged } from './merge';
import { IIssue, ITemplate, ITransport, IWorkflow, News } from './transport';

/** How long after the last change a graph is checked, in ms. */
const CHECK_DELAY = 200;
const PASTE_SHIFT = 32;

/** Something that a person has to know. `conflict`: somebody else saved meanwhile. */
export interface INotice {
  readonly kind: 'trouble' | 'conflict';
  readonly words: string;
}

/** All that the editor shows. Each change makes a new one, which shares what did not change. */
export interface IEditorState {
  /** Whether the workflow and the catalogue have come. */
  readonly ready: boolean;
  readonly name: string;
  /** The version that the graph was made on; null where it is not stored yet. */
  readonly version: number | null;
  readonly catalogue: Catalogue;
  readonly templates: readonly ITemplate[];
  readonly graph: IGraph;
  readonly unsaved: boolean;
  readonly canUndo: boolean;
  readonly canRedo: boolean;
  readonly nodes: ReadonlySet<string>;
  readonly edges: ReadonlySet<string>;
  /** Whether the issues are those of the graph as it is now, which then is also kept as the draft. */
  readonly checked: boolean;
  readonly issues: readonly IIssue[];
  readonly issuesOf: ReadonlyMap<string, readonly IIssue[]>;
  readonly execution: IExecution | null;
  readonly runs: ReadonlyMap<string, INodeRun>;
  readonly jobs: ReadonlyMap<string, INodeJob>;
  /** What is waited for, such as `Saving`; empty where nothing is. */
  readonly waiting: string;
  readonly notice: INotice | null;
}

const NOTHING: ReadonlySet<string> = new Set();

const BEFORE: IEditorState = {
  ready: false,
  name: '',
  version: null,
  catalogue: new Catalogue([]),
  templates: [],
  graph: EMPTY,
  unsaved: false,
  canUndo: false,
  canRedo: false,
  nodes: NOTHING,
  edges: NOTHING,
  checked: false,
  issues: [],
  issuesOf: new Map(),
  execution: null,
  runs: new Map(),
  jobs: new Map(),
  waiting: '',
  notice: null
};

/** What a workflow editor holds and does. Views subscribe; nobody else talks to the transport. */
export class EditorModel {
  constructor(readonly transport: ITransport) {}

  get state(): IEditorState {
    return this._state;
  }

  /** Call `listener` after each change; gives the way to stop that. */
  subscribe = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  };

  /** Read the catalogue and the workflow, and follow its executions. */
  async open(): Promise<void> {
    this.transport.follow(news => this._hear(news));
    await this._asking('Opening', async () => {
      const [types, templates, opened, execution] = await Promise.all([
        this.transport.nodeTypes(),
        this.transport.templates(),
        this.transport.open(),
        this.transport.lastExecution()
      ]);
      this._set({ catalogue: new Catalogue(types), templates });
      this._show(opened.workflow);
      if (opened.draft) {
        this._history.commit(placed(readGraph(opened.draft)));
        this._set({ version: opened.draft.version });
        this._afterEdit();
      }
      this._put(execution);
      this._set({ ready: true });
      this._early.forEach(news => this._hear(news));
      this._check();
    });
  }

  dispose(): void {
    window.clearTimeout(this._timer);
    this._disposed = true;
    this._listeners.clear();
    this.transport.dispose();
  }

  // the graph

  /** Add a node of a type; `from`: the end of an edge that leads to its first port of that type. */
  add(type: INodeType, position: IPoint, from?: IPortPlace): void {
    const { graph, catalogue } = this._state;
    const id = edit.freshId(
      graph.nodes.map(node => node.id),
      type.name
    );
    let next = edit.addNode(graph, {
      id,
      type: type.name,
      settings: {},
      position
    });
    const port = from && portFor(graph, catalogue, type, from);
    if (from && port) {
      const side = from.side === 'outputs' ? 'inputs' : 'outputs';
      const edge = edgeBetween(from, { node: id, port: port.name, side });
      if (edge) {
        next = edit.addEdge(next, edge, replacedBy(next, catalogue, edge));
      }
    }
    this._commit(next, new Set([id]));
  }

  /** Why an edge may not be drawn; null where it may. */
  connectionProblem(edge: IEdge): string | null {
    return connectionProblem(this._state.graph, this._state.catalogue, edge);
  }

  connect(edge: IEdge): void {
    const { graph, catalogue } = this._state;
    if (connectionProblem(graph, catalogue, edge) === null) {
      this._commit(
        edit.addEdge(graph, edge, replacedBy(graph, catalogue, edge))
      );
    }
  }

  move(positions: ReadonlyMap<string, IPoint>): void {
    this._commit(edit.moveNodes(this._state.graph, positions));
  }

  /** Give a setting a value; undefined gives it its default. */
  changeSetting(id: string, name: string, value: unknown): void {
    const next = edit.changeSetting(this._state.graph, id, name, value);
    this._commit(next, undefined, `${id} ${name}`);
  }

  /** Give a node another id. Gives why not, in words, or null. */
  rename(from: string, to: string): string | null {
    const { graph, nodes } = this._state;
    if (to === from) {
      return null;
    }
    if (to.trim() === '' || to.length > 200) {
      return 'Give it 1 to 200 characters.';
    }
    if (graph.nodes.some(node => node.id === to)) {
      return `Another node is called ${to} already.`;
    }
    const selected = nodes.has(from) ? new Set([to]) : undefined;
    this._commit(edit.renameNode(graph, from, to), selected);
    return null;
  }

  removeSelected(): void {
    const { graph, nodes, edges } = this._state;
    if (nodes.size + edges.size > 0) {
      this._commit(edit.remove(graph, nodes, edges), NOTHING);
    }
  }

  arrange(): void {
    this._commit(arranged(this._state.graph));
  }

  /** Put a template in place of an empty graph, else below what is there. */
  insertTemplate(template: ITemplate): void {
    const { graph } = this._state;
    const bottom = Math.max(
      0,
      ...graph.nodes.map(node => (node.position?.y ?? 0) + 176)
    );
    const given = edit.toJson(placed(readGraph(template)));
    const added = edit.insert(graph, given, { x: 0, y: bottom });
    this._commit(added.graph, added.ids);
  }

  undo(): void {
    this._history.undo();
    this._afterEdit();
  }

  redo(): void {
    this._history.redo();
    this._afterEdit();
  }

  // the selection

  select(nodes: ReadonlySet<string>, edges: ReadonlySet<string>): void {
    const now = this._state;
    if (!sameSet(nodes, now.nodes) || !sameSet(edges, now.edges)) {
      this._history.settle();
      this._set({ nodes, edges });
    }
  }

  selectAll(): void {
    const { graph } = this._state;
    this.select(
      new Set(graph.nodes.map(node => node.id)),
      new Set(graph.edges.map(edit.edgeKey))
    );
  }

  /** What is selected, as text for a clipboard; null where no node is. */
  copy(): string | null {
    const { graph, nodes } = this._state;
    return nodes.size === 0
      ? null
      : JSON.stringify({ medflow: edit.part(graph, nodes) });
  }

  /** Add what `copy` gave, here or elsewhere; text that is none is left alone, which false says. */
  paste(text: string): boolean {
    const given = copied(text);
    if (!given) {
      return false;
    }
    this._pasted = text === this._lastPaste ? this._pasted + 1 : 1;
    this._lastPaste = text;
    const shift = PASTE_SHIFT * this._pasted;
    const added = edit.insert(this._state.graph, given, { x: shift, y: shift });
    this._commit(added.graph, added.ids);
    return true;
  }

  duplicate(): void {
    const text = this.copy();
    if (text !== null) {
      this.paste(text);
    }
  }

  // the store

  /** Save the graph; gives whether it is saved. */
  async save(): Promise<boolean> {
    const { version } = this._state;
    return this._asking('Saving', async () => {
      const graph = this._state.graph;
      const json = edit.toJson(graph);
      const saved = await this.transport.save(json, version);
      this._saved = graph;
      this._savedJson = json;
      this._set({ name: saved.name, version: saved.version, notice: null });
      this._afterEdit();
    });
  }

  /** The graph was saved by another way, such as the menu of JupyterLab. */
  markSaved(): void {
    this._saved = this._state.graph;
    this._savedJson = edit.toJson(this._saved);
    this._afterEdit();
  }

  /** After a conflict: show what somebody else saved. What was here is one undo away. */
  async takeTheirs(): Promise<void> {
    await this._asking('Opening', async () => {
      this._show((await this.transport.open()).workflow);
      this._afterEdit();
    });
  }

  /** After a conflict: save the graph as the newest version; theirs stays among the versions. */
  async keepMine(): Promise<void> {
    await this._asking('Saving', async () => {
      const { workflow } = await this.transport.open();
      this._set({ version: workflow.version });
    });
    await this.save();
  }

  async restore(version: number): Promise<void> {
    const { versions } = this.transport;
    await this._asking('Restoring', async () => {
      if (versions) {
        this._show(await versions.restore(version));
        this._afterEdit();
      }
    });
  }

  /** Save where needed, and execute. */
  async run(): Promise<void> {
    if (isActive(this._state.execution)) {
      return;
    }
    if (this._state.unsaved || this._state.version === null) {
      if (!(await this.save())) {
        return;
      }
    }
    await this._asking('Starting', async () =>
      this._put(await this.transport.run())
    );
  }

  async stop(): Promise<void> {
    const { execution } = this._state;
    if (execution && isActive(execution)) {
      await this._asking('Stopping', () => this.transport.stop(execution.id));
    }
  }

  dismissNotice(): void {
    this._set({ notice: null });
  }

  /** Show a stored workflow; the graph that was there can be had back by undo. */
  private _show(workflow: IWorkflow): void {
    const graph = placed(readGraph(workflow));
    if (this._state.graph === EMPTY) {
      this._history = new History(graph);
    } else {
      this._history.commit(graph);
    }
    this._saved = graph;
    this._savedJson = { nodes: workflow.nodes, edges: workflow.edges };
    this._set({
      name: workflow.name,
      version: workflow.version,
      graph,
      unsaved: false,
      notice: null
    });
  }

  private _commit(
    graph: IGraph,
    nodes?: ReadonlySet<string>,
    kind?: string
  ): void {
    this._history.commit(graph, kind);
    if (nodes) {
      this._set({ nodes, edges: NOTHING });
    }
    this._afterEdit();
  }

  private _afterEdit(): void {
    const graph = this._history.present;
    const changed = graph !== this._state.graph;
    this._set({
      graph,
      unsaved: graph !== this._saved,
      canUndo: this._history.canUndo,
      canRedo: this._history.canRedo,
      nodes: present(
        this._state.nodes,
        graph.nodes.map(node => node.id)
      ),
      edges: present(this._state.edges, graph.edges.map(edit.edgeKey))
    });
    if (changed) {
      this._checkSoon();
    }
  }

  private _checkSoon(): void {
    this._set({ checked: false });
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => this._check(), CHECK_DELAY);
  }

  private _check(): void {
    const { graph, version } = this._state;
    // places that nodes were given to be drawn are no change of what is saved
    const json = graph === this._saved ? this._savedJson : edit.toJson(graph);
    this.transport
      .check(json, version)
      .then(issues => {
        // an answer about an earlier graph says nothing about this one
        if (graph === this._state.graph) {
          this._set({ checked: true, issues, issuesOf: byNode(issues) });
        }
      })
      .catch(error => this._tell(error));
  }

  private _hear(news: News): void {
    if ('graph' in news) {
      if (!this._state.ready) {
        this._early.push(news);
        return;
      }
      const { graph } = this._state;
      const before = readGraph(news.graph.before);
      const now = merged(graph, before, readGraph(news.graph));
      this._history.commit(now === graph ? graph : placed(now));
      this._set({ version: news.graph.version });
      this._afterEdit();
      // where nothing changed too: the kernel waits for a graph that knows of its own
      this._checkSoon();
    } else if ('execution' in news) {
      this._put(news.execution);
    } else if ('job' in news) {
      const jobs = new Map(this._state.jobs).set(news.job.job_id, news.job);
      this._set({ jobs });
    } else if (news.trouble !== '') {
      this._lost = news.trouble;
      this._set({ notice: { kind: 'trouble', words: news.trouble } });
    } else if (this._state.notice?.words === this._lost) {
      this._set({ notice: null });
    }
  }

  private _put(execution: IExecution | null): void {
    const known = this._state.execution;
    if (execution && known && execution.id < known.id) {
      return;
    }
    const runs = execution?.nodes.map((run): [string, INodeRun] => {
      const before = this._state.runs.get(run.node_id);
      return [run.node_id, before && sameRun(before, run) ? before : run];
    });
    const jobs = new Map(
      [...this._state.jobs].filter(([id]) =>
        execution?.nodes.some(run => jobOf(run) === id)
      )
    );
    this._set({ execution, runs: new Map(runs), jobs });
  }

  /** Do what takes a while, telling so; what is refused is told, and false given. */
  private async _asking(
    what: string,
    work: () => Promise<void>
  ): Promise<boolean> {
    this._set({ waiting: what });
    try {
      await work();
      return true;
    } catch (error) {
      this._tell(error, what === 'Saving' ? 'conflict' : 'trouble');
      return false;
    } finally {
      this._set({ waiting: '' });
    }
  }

  /** refusal: what a 409 is here. */
  private _tell(error: unknown, refusal: INotice['kind'] = 'trouble'): void {
    const refused = error instanceof RefusedError && error.status === 409;
    this._set({
      notice: {
        kind: refused ? refusal : 'trouble',
        words: error instanceof Error ? error.message : String(error)
      }
    });
  }

  private _set(changes: Partial<IEditorState>): void {
    if (!this._disposed) {
      this._state = { ...this._state, ...changes };
      this._listeners.forEach(listener => listener());
    }
  }

  private _state = BEFORE;
  private _history = new History<IGraph>(EMPTY);
  private _saved: IGraph = EMPTY;
  private _savedJson: IGraphJson = EMPTY;
  private _timer = 0;
  /** What was told of the graph before it was there. */
  private _early: News[] = [];
  private _lost = '';
  private _pasted = 0;
  private _lastPaste = '';
  private _disposed = false;
  private _listeners = new Set<() => void>();
}

function copied(text: string): IGraphJson | null {
  try {
    const given: unknown = JSON.parse(text);
    const part = (given as { medflow?: IGraphJson } | null)?.medflow;
    return Array.isArray(part?.nodes) && Array.isArray(part.edges)
      ? part
      : null;
  } catch {
    return null;
  }
}

function byNode(
  issues: readonly IIssue[]
): ReadonlyMap<string, readonly IIssue[]> {
  const found = new Map<string, IIssue[]>();
  for (const issue of issues) {
    if (issue.node !== null) {
      found.set(issue.node, [...(found.get(issue.node) ?? []), issue]);
    }
  }
  return found;
}

function present(
  selected: ReadonlySet<string>,
  there: readonly string[]
): ReadonlySet<string> {
  const kept = there.filter(one => selected.has(one));
  return kept.length === selected.size ? selected : new Set(kept);
}

function sameSet(
  one: ReadonlySet<string>,
  other: ReadonlySet<string>
): boolean {
  return one.size === other.size && [...one].every(item => other.has(item));
}

function sameRun(one: INodeRun, other: INodeRun): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
