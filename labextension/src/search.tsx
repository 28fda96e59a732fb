import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

/** The field to search a list by. */
export function SearchBox(props: {
  value: string;
  label: string;
  trans: TranslationBundle;
  find: (words: string) => Promise<void>;
}): React.JSX.Element {
  return (
    <input
      type="search"
      value={props.value}
      placeholder={props.trans.__('search…')}
      aria-label={props.label}
      data-lm-suppress-shortcuts="true"
      onChange={event => quietly(props.find(event.target.value))}
    />
  );
}

/** The button at the end of a list that goes on. */
export function MoreButton(props: {
  trans: TranslationBundle;
  more: () => Promise<void>;
}): React.JSX.Element {
  return (
    <button
      className="jp-MedFusion-textButton jp-MedFusion-more"
      onClick={() => quietly(props.more())}
    >
      {props.trans.__('Show more')}
    </button>
  );
}

/** A list that could not be read is said by the model, in `trouble`. */
export function quietly(work: Promise<void>): void {
  work.catch(() => undefined);
}
