import * as React from 'react';

import { useWords } from './context';
import { Icon } from './icons';
import { IField, same, shown } from './settingsSchema';
import { IIssue } from './transport';

interface IFieldProps {
  field: IField;
  /** What is set; undefined where nothing is, and the default holds. */
  value: unknown;
  issues: readonly IIssue[];
  /** Set the value; undefined takes it back to the default. */
  change: (value: unknown) => void;
}

/** One setting: its name, its input, its range and unit, what it means, and what is wrong with it. */
export function Field(props: IFieldProps): React.JSX.Element {
  const { field, value, issues, change } = props;
  const trans = useWords();
  const [fault, setFault] = React.useState('');
  const id = React.useId();
  const isSet = value !== undefined && !same(value, field.default);
  const hints = [field.unit, field.range].filter(Boolean).join(' · ');
  const set = (next: unknown) => {
    setFault('');
    change(next);
  };
  return (
    <div
      className="mf-flow-field"
      data-setting={field.name}
      data-set={isSet || undefined}
      data-invalid={issues.length > 0 || fault !== '' || undefined}
    >
      <div className="mf-flow-field-head">
        <label htmlFor={id}>
          {field.name}
          {field.required && <span aria-label={trans.__('required')}> *</span>}
        </label>
        <small>{hints}</small>
        {isSet && !field.required && (
          <button
            type="button"
            className="mf-flow-reset"
            title={trans.__('Back to the default: %1', shown(field.default))}
            aria-label={trans.__('Back to the default of %1', field.name)}
            onClick={() => set(undefined)}
          >
            <Icon name="reset" />
          </button>
        )}
      </div>
      <Input
        {...{ id, field, setFault }}
        value={value === undefined ? field.default : value}
        change={set}
      />
      {fault && <div className="mf-flow-field-issue">{fault}</div>}
      {issues.map(issue => (
        <div className="mf-flow-field-issue" key={issue.message}>
          {issue.message}
        </div>
      ))}
      {field.help && <div className="mf-flow-help">{field.help}</div>}
    </div>
  );
}

interface IInputProps {
  id: string;
  field: IField;
  value: unknown;
  change: (value: unknown) => void;
  setFault: (words: string) => void;
}

function Input(props: IInputProps): React.JSX.Element {
  const { id, field, value, change } = props;
  const trans = useWords();
  switch (field.kind) {
    case 'switch':
      if (!field.nullable) {
        return (
          <input
            id={id}
            type="checkbox"
            checked={value === true}
            onChange={event => change(event.target.checked)}
          />
        );
      }
      return <Choice {...props} choices={[true, false]} />;
    case 'choice':
      return <Choice {...props} choices={field.choices} />;
    case 'group':
      return <Group {...props} />;
    case 'text':
      return (
        <>
          <input
            id={id}
            type="text"
            list={offeredBy(id, field)}
            value={typeof value === 'string' ? value : ''}
            placeholder={field.nullable ? trans.__('none') : undefined}
            onChange={event => {
              const text = event.target.value;
              change(text === '' && field.nullable ? null : text);
            }}
          />
          <Offered {...props} />
        </>
      );
    case 'number':
    case 'integer':
      return <Written {...props} read={text => readNumber(text, field)} />;
    case 'list':
      return <Written {...props} read={text => readList(text, field)} />;
    case 'json':
      return <Written {...props} read={readJson} />;
  }
}

/** The id of what `Offered` offers to be typed; undefined where that is nothing. */
function offeredBy(id: string, field: IField): string | undefined {
  return field.choices.length > 0 ? `${id}-offered` : undefined;
}

function Offered(props: { id: string; field: IField }): React.JSX.Element {
  const { id, field } = props;
  return (
    <datalist id={offeredBy(id, field)}>
      {field.choices.map(choice => (
        <option key={String(choice)} value={String(choice)} />
      ))}
    </datalist>
  );
}

function Choice(
  props: IInputProps & { choices: readonly unknown[] }
): React.JSX.Element {
  const { id, field, value, change, choices } = props;
  const options = field.nullable ? [null, ...choices] : choices;
  // a value that is none of them is shown as it is, to be mended by hand
  const all = options.some(option => same(option, value ?? null))
    ? options
    : [value, ...options];
  return (
    <select
      id={id}
      value={all.findIndex(option => same(option ?? null, value ?? null))}
      onChange={event => change(all[Number(event.target.value)])}
    >
      {all.map((option, k) => (
        <option key={k} value={k}>
          {shown(option)}
        </option>
      ))}
    </select>
  );
}

/** Settings within a setting; where it may be nothing, a switch takes them all away. */
function Group(props: IInputProps): React.JSX.Element {
  const { id, field, value, change } = props;
  const trans = useWords();
  const values = (value ?? {}) as { [name: string]: unknown };
  const on = value !== null && value !== undefined;
  return (
    <>
      {field.nullable && (
        <input
          id={id}
          type="checkbox"
          checked={on}
          onChange={event =>
            change(event.target.checked ? (field.default ?? {}) : null)
          }
        />
      )}
      {on && (
        <details open={value !== field.default || undefined}>
          <summary>{trans.__('%1 settings', field.fields.length)}</summary>
          <div className="mf-flow-subfields">
            {field.fields.map(one => (
              <Field
                key={one.name}
                field={one}
                value={values[one.name]}
                issues={[]}
                change={next => {
                  const changed = { ...values, [one.name]: next };
                  if (next === undefined) {
                    delete changed[one.name];
                  }
                  change(changed);
                }}
              />
            ))}
          </div>
        </details>
      )}
    </>
  );
}

/** A value that is read from text while it is typed; text that is none stays, and says so. */
function Written(
  props: IInputProps & { read: (text: string) => unknown }
): React.JSX.Element {
  const { id, field, value, change, setFault, read } = props;
  const trans = useWords();
  const [typed, setTyped] = React.useState<string | null>(null);
  const number = field.kind === 'number' || field.kind === 'integer';
  const write = (text: string) => {
    setTyped(text);
    if (text.trim() === '' && field.kind !== 'list') {
      change(field.nullable && field.default !== null ? null : undefined);
      return;
    }
    const next = read(text);
    if (next === undefined) {
      setFault(
        number
          ? trans.__('%1 is no number.', text)
          : trans.__('This cannot be read.')
      );
    } else {
      change(next);
    }
  };
  const step = (event: React.KeyboardEvent) => {
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (direction && field.kind === 'integer' && typeof value === 'number') {
      event.preventDefault();
      write(String(value + direction));
    }
  };
  return (
    <>
      <input
        id={id}
        type="text"
        list={offeredBy(id, field)}
        inputMode={number ? 'decimal' : undefined}
        spellCheck={false}
        value={typed ?? written(value, field)}
        placeholder={
          field.nullable
            ? trans.__('none')
            : field.kind === 'list'
              ? trans.__('such as 1, 2')
              : undefined
        }
        onChange={event => write(event.target.value)}
        onKeyDown={step}
        onBlur={() => {
          setTyped(null);
          setFault('');
        }}
      />
      <Offered {...props} />
    </>
  );
}

function written(value: unknown, field: IField): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (field.kind === 'list' && Array.isArray(value)) {
    return value.join(', ');
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function readNumber(text: string, field: IField): unknown {
  const value = Number(text);
  const fits = field.kind === 'number' || Number.isInteger(value);
  return Number.isFinite(value) && fits ? value : undefined;
}

function readList(text: string, field: IField): unknown {
  const items = text
    .split(',')
    .map(item => item.trim())
    .filter(Boolean);
  if (!field.ofNumbers) {
    return items;
  }
  const numbers = items.map(Number);
  return numbers.every(Number.isFinite) ? numbers : undefined;
}

/** JSON, or a word as it is: `balanced` needs no quotes. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return /^[[{"]/.test(text.trim()) ? undefined : text.trim();
  }
}
