import { INodeType } from './catalogue';
import { IExecution, INodeJob } from './execution';
import { IGraphJson } from './graph';

/** A workflow as it is stored. version: null where it is not stored yet. */
export interface IWorkflow extends IGraphJson {
  readonly name: string;
  readonly version: number | null;
}

/** What an editor opens: the stored workflow, and what was changed since and not saved. */
export interface IOpened {
  readonly workflow: IWorkflow;
  /** version: the one that the draft was made on. */
  readonly draft: (IGraphJson & { readonly version: number | null }) | null;
}

/** What keeps a graph from being executed. edge: place among the edges of the JSON, from 0. */
export interface IIssue {
  readonly message: string;
  readonly fix: string;
  readonly node: string | null;
  readonly port: string | null;
  readonly setting: string | null;
  readonly edge: number | null;
}

/** A graph to start from. */
export interface ITemplate extends IGraphJson {
  readonly name: string;
  readonly title: string;
  readonly help: string;
}

/** One save of a workflow. */
export interface IVersion extends IGraphJson {
  readonly version: number;
  readonly created_at: string;
  readonly created_by: string | null;
}

/** What differs between two versions. */
export interface IDifference {
  readonly nodes_added: readonly { readonly id?: unknown }[];
  readonly nodes_removed: readonly { readonly id?: unknown }[];
  readonly nodes_changed: readonly {
    readonly id: unknown;
    readonly changes: readonly {
      readonly name: string;
      readonly before: unknown;
      readonly after: unknown;
    }[];
  }[];
  readonly edges_added: readonly unknown[];
  readonly edges_removed: readonly unknown[];
}

/** The saves of a workflow. A document has none: its file is what is saved. */
export interface IVersions {
  list(): Promise<readonly IVersion[]>;
  difference(before: number, after: number): Promise<IDifference>;
  /** Save an earlier version as the newest one. */
  restore(version: number): Promise<IWorkflow>;
}

/** The graph after code of the kernel has changed it, and before. version: what it is stored as by now. */
export interface IGraphNews extends IGraphJson {
  readonly version: number | null;
  readonly before: IGraphJson;
}

/** News of an execution, of a job that one of its nodes waits for, or of the graph, which code of the kernel has changed. */
export type News =
  | { readonly graph: IGraphNews }
  | { readonly execution: IExecution }
  | { readonly job: INodeJob }
  /** Why there is no news, in words; empty where there is again. */
  | { readonly trouble: string };

/**
 * The way to the workflow, its checks and its executions: a kernel (`kernelTransport`) or the server
 * (`serverTransport`). What is refused is a RefusedError, of status 409 where somebody saved meanwhile.
 */
export interface ITransport {
  readonly versions: IVersions | null;
  nodeTypes(): Promise<readonly INodeType[]>;
  templates(): Promise<readonly ITemplate[]>;
  open(): Promise<IOpened>;
  /** What is wrong with a graph, which is also kept as the draft: a reload finds it. version: what it was made on. */
  check(graph: IGraphJson, version: number | null): Promise<readonly IIssue[]>;
  /** Save a graph that was made on a version. */
  save(graph: IGraphJson, version: number | null): Promise<IWorkflow>;
  /** Execute what was saved last. */
  run(): Promise<IExecution>;
  stop(executionId: number): Promise<void>;
  /** The newest execution; null where there is none. */
  lastExecution(): Promise<IExecution | null>;
  /** The graph that was executed as a version. */
  executed(version: number): Promise<IGraphJson>;
  /** Hear of the workflow and its executions from now on. */
  follow(listener: (news: News) => void): void;
  dispose(): void;
}
