import { IEdge, IGraph, INode, nodeOf } from './graph';
import { fieldsOf, IField, ISchema } from './settingsSchema';

/** A port of a node type. `type`: an edge leads only from an output to an input of the same one. */
export interface IPort {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** Of an input. */
  readonly required?: boolean;
  /** Of an input that takes any number of edges. */
  readonly several?: boolean;
  /** Of an input: settings of its node that it stands for while it is connected. */
  readonly replaces?: readonly string[];
}

/** One kind of node, as the catalogue gives it. */
export interface INodeType {
  readonly name: string;
  readonly family: string;
  readonly title: string;
  readonly help: string;
  readonly inputs: readonly IPort[];
  readonly outputs: readonly IPort[];
  readonly settings: ISchema;
}

export interface IPorts {
  readonly inputs: readonly IPort[];
  readonly outputs: readonly IPort[];
}

/** The type of a port that no node type declares, but that an edge of the graph names. */
export const UNKNOWN_PORT = '';

/** Node types by name. */
export class Catalogue {
  constructor(readonly types: readonly INodeType[]) {
    this._byName = new Map(types.map(type => [type.name, type]));
  }

  get(name: string): INodeType | undefined {
    return this._byName.get(name);
  }

  /** The fields of a type's form; none of one that is not known. */
  fields(name: string): readonly IField[] {
    const known = this._fields.get(name);
    if (known) {
      return known;
    }
    const type = this.get(name);
    const fields = type ? fieldsOf(type.settings) : [];
    this._fields.set(name, fields);
    return fields;
  }

  /**
   * The types that have all these words in what they are called or do, by family in the catalogue's order: first those that are
   * called so.
   */
  families(words: string): [string, INodeType[]][] {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const having = (told: (type: INodeType) => string) =>
      this.types.filter(type =>
        wanted.every(word => told(type).toLowerCase().includes(word))
      );
    const found = new Map<string, INodeType[]>();
    for (const type of new Set([
      ...having(({ title, name }) => `${title} ${name}`),
      ...having(
        ({ title, name, family, help }) => `${title} ${name} ${family} ${help}`
      )
    ])) {
      found.set(type.family, [...(found.get(type.family) ?? []), type]);
    }
    return [...found];
  }

  /** The ports of a node: what its type declares, and below it what else edges of the graph lead to. */
  ports(node: INode, edges: readonly IEdge[]): IPorts {
    const type = this.get(node.type);
    const inputs = edges.filter(edge => edge.target === node.id);
    const outputs = edges.filter(edge => edge.source === node.id);
    return {
      inputs: withNamed(
        type?.inputs ?? [],
        inputs.map(edge => edge.target_port)
      ),
      outputs: withNamed(
        type?.outputs ?? [],
        outputs.map(edge => edge.source_port)
      )
    };
  }

  /** The port of a node's type; undefined where there is none. */
  port(
    graph: IGraph,
    nodeId: string,
    side: keyof IPorts,
    name: string
  ): IPort | undefined {
    const node = nodeOf(graph, nodeId);
    const type = node && this.get(node.type);
    return type?.[side].find(port => port.name === name);
  }

  private _byName: ReadonlyMap<string, INodeType>;
  private _fields = new Map<string, readonly IField[]>();
}

function withNamed(
  ports: readonly IPort[],
  names: readonly string[]
): readonly IPort[] {
  const declared = new Set(ports.map(port => port.name));
  const others = [...new Set(names)].filter(name => !declared.has(name));
  return others.length === 0
    ? ports
    : [
        ...ports,
        ...others.map(name => ({ name, type: UNKNOWN_PORT, help: '' }))
      ];
}
