/** The form of a node's settings, read from the JSON schema that pydantic makes of them. */

export interface ISchema {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly examples?: readonly unknown[];
  readonly anyOf?: readonly ISchema[];
  readonly oneOf?: readonly ISchema[];
  readonly allOf?: readonly ISchema[];
  readonly $ref?: string;
  readonly $defs?: { readonly [name: string]: ISchema };
  readonly properties?: { readonly [name: string]: ISchema };
  readonly required?: readonly string[];
  readonly items?: ISchema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly unit?: string;
  readonly group?: string;
  /** Whether it is among the first of a form, whatever its group. */
  readonly usual?: boolean;
}

/** How a setting is edited. `json`: whatever no other kind can show. */
export type FieldKind =
  | 'number'
  | 'integer'
  | 'text'
  | 'choice'
  | 'switch'
  | 'list'
  | 'group'
  | 'json';

/** One setting in a form. */
export interface IField {
  readonly name: string;
  readonly kind: FieldKind;
  readonly help: string;
  readonly unit: string;
  /** Heading that it stands under; empty for none, and of what is set most often. */
  readonly group: string;
  readonly required: boolean;
  /** Whether it may be nothing (null). */
  readonly nullable: boolean;
  /** The value where it is not set; undefined where it must be. */
  readonly default: unknown;
  /** Of a choice: all there are. Of what is typed: what is offered. */
  readonly choices: readonly unknown[];
  /** What a number may be, such as `0 … 1` or `> 0`; empty where anything. */
  readonly range: string;
  readonly minimum?: number;
  readonly maximum?: number;
  /** Of a list: whether it holds numbers. */
  readonly ofNumbers: boolean;
  /** Of a group: its own fields. */
  readonly fields: readonly IField[];
}

/** The fields of a form, in the order of the schema. */
export function fieldsOf(schema: ISchema, root: ISchema = schema): IField[] {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, property]) =>
    fieldOf(name, property, required.has(name), root)
  );
}

/** A setting's value as it is shown in one line: `[10, 15]` as `10, 15`, nothing as `none`. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) {
    return 'none';
  }
  if (typeof value === 'boolean') {
    return value ? 'yes' : 'no';
  }
  if (Array.isArray(value)) {
    return value.length === 0 ? 'none' : value.map(shown).join(', ');
  }
  return typeof value === 'object' ? '…' : String(value);
}

/** The settings of a node that differ from their default, with their names. */
export function settingsMade(
  settings: { readonly [name: string]: unknown },
  fields: readonly IField[]
): [string, unknown][] {
  return Object.entries(settings).filter(([name, value]) => {
    const field = fields.find(one => one.name === name);
    return !field || !same(value, field.default);
  });
}

/** The same in one line: `n 500 · seed 3`; what is chosen by its name is that alone: `gated`. */
export function summary(
  settings: { readonly [name: string]: unknown },
  fields: readonly IField[]
): string {
  return settingsMade(settings, fields)
    .map(([name, value]) =>
      value === true
        ? name
        : name === 'name'
          ? shown(value)
          : `${name} ${shown(value)}`
    )
    .join(' · ');
}

/** Whether two values of JSON are equal. */
export function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function fieldOf(
  name: string,
  property: ISchema,
  required: boolean,
  root: ISchema
): IField {
  const options = optionsOf(property, root);
  const real = options.filter(option => option.type !== 'null');
  const one = real.length === 1 ? real[0] : undefined;
  const kind = one ? kindOf(one) : choicesOf(real) ? 'choice' : 'json';
  return {
    name,
    kind,
    help: property.description ?? one?.description ?? '',
    unit: property.unit ?? one?.unit ?? '',
    group: property.usual ? '' : (property.group ?? ''),
    required,
    nullable: real.length < options.length,
    default: property.default,
    choices:
      choicesOf(real) ??
      property.examples ??
      one?.examples ??
      real.flatMap(option => choicesOf([option]) ?? []),
    range: one ? rangeOf(one) : '',
    minimum: one?.minimum ?? one?.exclusiveMinimum,
    maximum: one?.maximum ?? one?.exclusiveMaximum,
    ofNumbers: ['number', 'integer'].includes(one?.items?.type ?? ''),
    fields: one && kind === 'group' ? fieldsOf(one, root) : []
  };
}

/** What a value may be, each resolved: `int | None` is two. */
function optionsOf(schema: ISchema, root: ISchema): ISchema[] {
  const several = schema.anyOf ?? schema.oneOf;
  if (several) {
    return several.flatMap(option => optionsOf(option, root));
  }
  const only = schema.allOf?.length === 1 ? schema.allOf[0] : undefined;
  const reference = schema.$ref ?? only?.$ref;
  const name = reference?.replace('#/$defs/', '');
  const found = name === undefined ? undefined : root.$defs?.[name];
  return found ? optionsOf(found, root) : [schema];
}

function kindOf(option: ISchema): FieldKind {
  if (option.enum !== undefined || option.const !== undefined) {
    return 'choice';
  }
  switch (option.type) {
    case 'integer':
      return 'integer';
    case 'number':
      return 'number';
    case 'boolean':
      return 'switch';
    case 'string':
      return 'text';
    case 'array':
      return ['string', 'number', 'integer'].includes(option.items?.type ?? '')
        ? 'list'
        : 'json';
    case 'object':
      return option.properties ? 'group' : 'json';
    default:
      return 'json';
  }
}

function choicesOf(options: readonly ISchema[]): unknown[] | null {
  const choices = options.flatMap(option =>
    option.enum
      ? [...option.enum]
      : option.const !== undefined
        ? [option.const]
        : [undefined]
  );
  return choices.length === 0 || choices.includes(undefined) ? null : choices;
}

function rangeOf(option: ISchema): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = option;
  const low = minimum ?? exclusiveMinimum;
  const high = maximum ?? exclusiveMaximum;
  const from = written(low);
  const to = written(high);
  // the bounds of what an integer of 32 bits can hold tell nobody anything
  const told = high !== undefined && high < 2 ** 31 - 1;
  if (low !== undefined && told) {
    return `${minimum === undefined ? 'above ' : ''}${from} to ${maximum === undefined ? 'below ' : ''}${to}`;
  }
  if (low !== undefined) {
    return minimum === undefined ? `above ${from}` : `${from} or more`;
  }
  return told ? `${maximum === undefined ? 'below' : 'at most'} ${to}` : '';
}

function written(bound: number | undefined): string {
  return bound === undefined
    ? ''
    : bound.toLocaleString('en', { maximumSignificantDigits: 6 });
}
