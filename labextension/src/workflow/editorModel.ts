import { RefusedError } from '../refused';
import { arranged, insertBelow } from './arrange';
import { Catalogue, INodeType } from './catalogue';
import { changedSince } from './changedSince';
import { Clipboard } from './clipboard';
import {
  addConnected,
  connected,
  connectionProblem,
  IPortPlace
} from './connection';
import { EditedGraph } from './editedGraph';
import {
  BEFORE,
  byNode,
  IEditorState,
  INotice,
  NOTHING,
  sameSet,
  stillThere
} from './editorState';
import { IExecution, isActive } from './execution';
import * as edit from './graph';
import { IEdge, IGraph, IPoint, readGraph } from './graph';
import { withExecution, withJob } from './runs';
import { ITemplate, ITransport, IWorkflow, News } from './transport';

/** How long after the last change a graph is checked, in ms. */
const CHECK_DELAY = 200;

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
        this._edited.takeDraft(opened.draft);
        this._set({ version: opened.draft.version });
        this._afterEdit();
      }
      this._follow(execution);
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
    const node = { id, type: type.name, settings: {}, position };
    const next = addConnected(graph, catalogue, node, from);
    this._commit(next, new Set([id]));
  }

  /** Why an edge may not be drawn; null where it may. */
  connectionProblem(edge: IEdge): string | null {
    return connectionProblem(this._state.graph, this._state.catalogue, edge);
  }

  connect(edge: IEdge): void {
    const { graph, catalogue } = this._state;
    if (connectionProblem(graph, catalogue, edge) === null) {
      this._commit(connected(graph, catalogue, edge));
    }
  }

  /** Put nodes elsewhere. What is done with the keys, step by step, is undone together. */
  move(positions: ReadonlyMap<string, IPoint>, by: 'mouse' | 'keys'): void {
    const kind = by === 'keys' ? 'move' : undefined;
    this._commit(edit.moveNodes(this._state.graph, positions), undefined, kind);
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
    const problem = edit.renameProblem(graph, from, to);
    if (problem !== null) {
      return problem;
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
    const added = insertBelow(this._state.graph, template);
    this._commit(added.graph, added.ids);
  }

  undo(): void {
    this._edited.undo();
    this._afterEdit();
  }

  redo(): void {
    this._edited.redo();
    this._afterEdit();
  }

  // the selection

  select(nodes: ReadonlySet<string>, edges: ReadonlySet<string>): void {
    const now = this._state;
    if (!sameSet(nodes, now.nodes) || !sameSet(edges, now.edges)) {
      this._edited.settle();
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
    return this._clipboard.copy(this._state.graph, this._state.nodes);
  }

  /** Add what `copy` gave, here or elsewhere; text that is none is left alone, which false says. */
  paste(text: string): boolean {
    const added = this._clipboard.paste(this._state.graph, text);
    if (!added) {
      return false;
    }
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
      const saved = await this.transport.save(edit.toJson(graph), version);
      this._edited.markSaved(graph);
      this._set({ name: saved.name, version: saved.version, notice: null });
      this._afterEdit();
    });
  }

  /** The graph was saved by another way, such as the menu of JupyterLab. */
  markSaved(): void {
    this._edited.markSaved();
    this._afterEdit();
  }

  /** After a conflict: show what somebody else saved. What was here is one undo away. */
  async takeTheirs(): Promise<void> {
    await this._asking('Opening', async () => {
      this._show((await this.transport.open()).workflow);
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
    await this._asking('Starting', async () => {
      this._follow(await this.transport.run());
    });
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

  private _show(workflow: IWorkflow): void {
    this._edited.show(workflow);
    this._set({ name: workflow.name, version: workflow.version, notice: null });
    this._afterEdit();
  }

  private _commit(
    graph: IGraph,
    nodes?: ReadonlySet<string>,
    kind?: string
  ): void {
    this._edited.commit(graph, kind);
    if (nodes) {
      this._set({ nodes, edges: NOTHING });
    }
    this._afterEdit();
  }

  private _afterEdit(): void {
    const graph = this._edited.now;
    const changed = graph !== this._state.graph;
    this._set({
      graph,
      unsaved: !this._edited.isSaved,
      canUndo: this._edited.canUndo,
      canRedo: this._edited.canRedo,
      nodes: stillThere(
        this._state.nodes,
        graph.nodes.map(node => node.id)
      ),
      edges: stillThere(this._state.edges, graph.edges.map(edit.edgeKey))
    });
    if (changed) {
      this._compare();
      this._checkSoon();
    }
  }

  /** Show an execution, and what was changed since. */
  private _follow(execution: IExecution | null): void {
    this._set(withExecution(this._state, execution));
    const version = this._state.execution?.version ?? null;
    if (version === null || version === this._ran?.version) {
      return;
    }
    this._ran = { version, graph: null };
    this._compare();
    this.transport
      .executed(version)
      .then(json => {
        if (this._ran?.version === version) {
          this._ran = { version, graph: readGraph(json) };
          this._compare();
        }
      })
      .catch(error => this._tell(error));
  }

  private _compare(): void {
    const { graph, catalogue } = this._state;
    const ran = this._ran?.graph;
    const changed = ran ? changedSince(ran, graph, catalogue) : NOTHING;
    if (!sameSet(changed, this._state.changed)) {
      this._set({ changed });
    }
  }

  private _checkSoon(): void {
    this._set({ checked: false });
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => this._check(), CHECK_DELAY);
  }

  private _check(): void {
    window.clearTimeout(this._timer);
    const { graph, version } = this._state;
    this.transport
      .check(this._edited.json, version)
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
      this._edited.takeIn(news.graph.before, news.graph);
      this._set({ version: news.graph.version });
      this._afterEdit();
      // where nothing changed too: the kernel waits for a graph that knows of its own
      this._checkSoon();
    } else if ('execution' in news) {
      this._follow(news.execution);
    } else if ('job' in news) {
      this._set(withJob(this._state, news.job));
    } else if (news.trouble !== '') {
      this._lost = news.trouble;
      this._set({ notice: { kind: 'trouble', words: news.trouble } });
    } else if (this._state.notice?.words === this._lost) {
      this._set({ notice: null });
    }
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
  private _edited = new EditedGraph();
  private _clipboard = new Clipboard();
  /** The version that was executed last, with its graph when that has come. */
  private _ran: { version: number; graph: IGraph | null } | null = null;
  private _timer = 0;
  /** What was told of the graph before it was there. */
  private _early: News[] = [];
  private _lost = '';
  private _disposed = false;
  private _listeners = new Set<() => void>();
}
