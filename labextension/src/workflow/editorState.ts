import { Catalogue } from './catalogue';
import { IRuns, NO_RUNS } from './runs';
import { EMPTY, IGraph } from './graph';
import { IIssue, ITemplate } from './transport';

/** Something that a person has to know. `conflict`: somebody else saved meanwhile. */
export interface INotice {
  readonly kind: 'trouble' | 'conflict';
  readonly words: string;
}

/** All that the editor shows. Each change makes a new one, which shares what did not change. */
export interface IEditorState extends IRuns {
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
  /** What is selected: ids of nodes, keys of edges. */
  readonly nodes: ReadonlySet<string>;
  readonly edges: ReadonlySet<string>;
  /** Whether the issues are those of the graph as it is now, which then is also kept as the draft. */
  readonly checked: boolean;
  readonly issues: readonly IIssue[];
  readonly issuesOf: ReadonlyMap<string, readonly IIssue[]>;
  /** The nodes that were changed since the last execution, or take from one that was. */
  readonly changed: ReadonlySet<string>;
  /** What is waited for, such as `Saving`; empty where nothing is. */
  readonly waiting: string;
  readonly notice: INotice | null;
}

export const NOTHING: ReadonlySet<string> = new Set();

/** Before the workflow has come. */
export const BEFORE: IEditorState = {
  ...NO_RUNS,
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
  changed: NOTHING,
  waiting: '',
  notice: null
};

/** The issues of each node, by its id. */
export function byNode(
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

/** Of what is selected, what is still there; the same set where all is. */
export function stillThere(
  selected: ReadonlySet<string>,
  there: readonly string[]
): ReadonlySet<string> {
  const kept = there.filter(one => selected.has(one));
  return kept.length === selected.size ? selected : new Set(kept);
}

export function sameSet(
  one: ReadonlySet<string>,
  other: ReadonlySet<string>
): boolean {
  return one.size === other.size && [...one].every(item => other.has(item));
}
