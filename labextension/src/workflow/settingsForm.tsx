import * as React from 'react';

import { useEditor, useModel, useWords } from './context';
import { Field } from './settingsField';
import { INode } from './graph';
import { fieldsOf, IField, settingsMade } from './settingsSchema';
import { IIssue } from './transport';

/** From this many settings on a form has a search. */
const SEARCH_FROM = 9;
const NO_ISSUES: readonly IIssue[] = [];

/** The settings of a node: one field each, as its JSON schema says. */
export function SettingsForm(props: { node: INode }): React.JSX.Element {
  const { node } = props;
  const model = useModel();
  const trans = useWords();
  const type = useEditor(state => state.catalogue.get(node.type));
  const issues = useEditor(state => state.issuesOf.get(node.id) ?? NO_ISSUES);
  const [search, setSearch] = React.useState('');
  const known = useEditor(state => state.catalogue.fields(node.type));
  const fields = type ? known : strayFields(node);
  const replaced = useReplaced(node);
  const found = fields.filter(
    field =>
      !replaced.has(field.name) &&
      `${field.name} ${field.help}`.toLowerCase().includes(search.toLowerCase())
  );
  const row = (field: IField) => (
    <Field
      key={field.name}
      field={field}
      value={node.settings[field.name]}
      issues={issues.filter(issue => isOf(issue, field.name))}
      change={value => model.changeSetting(node.id, field.name, value)}
    />
  );
  return (
    <form
      className="mf-flow-form"
      onSubmit={event => event.preventDefault()}
      autoComplete="off"
    >
      {fields.length >= SEARCH_FROM && (
        <input
          type="search"
          className="mf-flow-search"
          value={search}
          placeholder={trans.__('Search %1 settings…', fields.length)}
          aria-label={trans.__('Search settings')}
          onChange={event => setSearch(event.target.value)}
        />
      )}
      {fields.length === 0 && (
        <p className="mf-flow-quiet">{trans.__('Nothing to set.')}</p>
      )}
      {[...new Set(replaced.values())].map(input => (
        <p className="mf-flow-help" key={input}>
          {trans.__(
            '%1: from the input %2',
            [...replaced.keys()]
              .filter(name => replaced.get(name) === input)
              .join(', '),
            input
          )}
        </p>
      ))}
      {byGroup(found).map(([group, members]) =>
        group === '' || search !== '' ? (
          <React.Fragment key={group}>{members.map(row)}</React.Fragment>
        ) : (
          <Group key={group} name={group} members={members} node={node}>
            {members.map(row)}
          </Group>
        )
      )}
    </form>
  );
}

/** The settings that a connected input stands for, each with that input. What is set nevertheless is an issue, and shown. */
function useReplaced(node: INode): ReadonlyMap<string, string> {
  const type = useEditor(state => state.catalogue.get(node.type));
  const edges = useEditor(state => state.graph.edges);
  return React.useMemo(() => {
    const connected = edges
      .filter(edge => edge.target === node.id)
      .map(edge => edge.target_port);
    const inputs = type?.inputs.filter(port => connected.includes(port.name));
    const replaced = (inputs ?? []).flatMap(port =>
      (port.replaces ?? []).map((name): [string, string] => [name, port.name])
    );
    return new Map(replaced.filter(([name]) => !(name in node.settings)));
  }, [type, edges, node]);
}

/** Settings under a heading, closed until it is clicked unless one of them is set. */
function Group(props: {
  name: string;
  members: readonly IField[];
  node: INode;
  children: React.ReactNode;
}): React.JSX.Element {
  const made = settingsMade(props.node.settings, props.members);
  const set = made.filter(([name]) =>
    props.members.some(field => field.name === name)
  ).length;
  return (
    <details className="mf-flow-group" open={set > 0 || undefined}>
      <summary>
        {props.name}
        <small>{set > 0 ? set : ''}</small>
      </summary>
      {props.children}
    </details>
  );
}

/** The settings of a node whose type is not known here: all that are there, so that they can be read and kept. */
function strayFields(node: INode): IField[] {
  const properties = Object.keys(node.settings).map(name => [name, {}]);
  return fieldsOf({ properties: Object.fromEntries(properties) });
}

function isOf(issue: IIssue, name: string): boolean {
  return issue.setting === name || (issue.setting ?? '').startsWith(`${name}.`);
}

/** The fields by heading, those without one first. */
function byGroup(fields: readonly IField[]): [string, IField[]][] {
  const groups = new Map<string, IField[]>([['', []]]);
  for (const field of fields) {
    groups.set(field.group, [...(groups.get(field.group) ?? []), field]);
  }
  return [...groups];
}
