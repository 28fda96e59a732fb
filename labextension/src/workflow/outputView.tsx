import * as React from 'react';

import { useWords } from './context';
import { safeHtml } from './safeHtml';

/** What a node's run noted of itself: its preview, and each fact with its value. */
export function OutputView(props: {
  output: { readonly [name: string]: unknown };
}): React.JSX.Element {
  const { preview, ...noted } = props.output;
  const facts = Object.fromEntries(
    Object.entries(noted).filter(([name]) => name !== 'progress')
  );
  const trans = useWords();
  if (!isObject(preview)) {
    return (
      <div className="mf-flow-output">
        <Facts facts={facts} />
      </div>
    );
  }
  return (
    <div className="mf-flow-output">
      <Preview bundle={preview} />
      {Object.keys(facts).length > 0 && (
        <details open={typeof preview['text/html'] !== 'string' || undefined}>
          <summary>{trans.__('What it noted')}</summary>
          <Facts facts={facts} />
        </details>
      )}
    </div>
  );
}

/** A preview by its kind of content, the richest first. What is HTML is drawn without anything that could act. */
function Preview(props: {
  bundle: { readonly [kind: string]: unknown };
}): React.JSX.Element | null {
  const image = props.bundle['image/png'];
  const html = props.bundle['text/html'];
  const text = props.bundle['text/plain'];
  const isBase64 = (value: unknown): value is string =>
    typeof value === 'string' && /^[A-Za-z0-9+/=\s]+$/.test(value);
  return (
    <>
      {isBase64(image) && (
        <img src={`data:image/png;base64,${image}`} alt={String(text ?? '')} />
      )}
      {typeof html === 'string' && (
        <div className="mf-flow-html">{safeHtml(html)}</div>
      )}
      {typeof html !== 'string' &&
        !isBase64(image) &&
        typeof text === 'string' && <pre>{text}</pre>}
    </>
  );
}

function Facts(props: {
  facts: { readonly [name: string]: unknown };
}): React.JSX.Element | null {
  const entries = Object.entries(props.facts);
  return entries.length === 0 ? null : (
    <dl>
      {entries.map(([name, value]) => (
        <React.Fragment key={name}>
          <dt>{name.replace(/_/g, ' ')}</dt>
          <dd>{fact(value)}</dd>
        </React.Fragment>
      ))}
    </dl>
  );
}

/** A value of JSON in a line, a list of facts for an object, and an estimate with its interval. */
function fact(value: unknown): React.ReactNode {
  if (typeof value === 'number') {
    return Number.isInteger(value)
      ? value.toLocaleString('en')
      : String(Number(value.toPrecision(4)));
  }
  if (Array.isArray(value)) {
    return value.map(one => String(fact(one))).join(', ');
  }
  if (isObject(value)) {
    const { value: estimate, low, high } = value;
    return typeof estimate === 'number' &&
      typeof low === 'number' &&
      typeof high === 'number' ? (
      `${estimate.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`
    ) : (
      <Facts facts={value} />
    );
  }
  return value === null || value === undefined ? '–' : String(value);
}

function isObject(value: unknown): value is { [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
