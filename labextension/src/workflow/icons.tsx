import * as React from 'react';

/** Drawn on 16 × 16 with lines in the colour of the text. */
const PATHS = {
  add: 'M8 3v10M3 8h10',
  arrange: 'M2 3h4v3H2zM2 10h4v3H2zM10 6.5h4v3h-4zM6 4.5h2v7H6M8 8h2',
  chart: 'M2 13h12M4 13V8M8 13V4M12 13V6',
  check: 'M2 9l4 4 8-10',
  close: 'M4 4l8 8M12 4l-8 8',
  database: 'M3 4c0-2 10-2 10 0s-10 2-10 0v8c0 2 10 2 10 0V4M3 8c0 2 10 2 10 0',
  export: 'M8 10V2M5 5l3-3 3 3M3 9v4h10V9',
  filter: 'M2 3h12l-5 6v5l-2-1V9z',
  fit: 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4',
  form: 'M10 2v12M2 2h12v12H2z',
  formula: 'M10 2c-3 0-2 12-5 12M4 7h5M10 9l4 5M14 9l-4 5',
  fuse: 'M6 4a4 4 0 1 0 .1 0M10 4a4 4 0 1 0 .1 0',
  head: 'M8 2a6 6 0 1 0 .1 0M8 5.500a2.500 2.500 0 1 0 .1 0',
  image: 'M2 3h12v10H2zM2 11l4-4 3 3 2-2 3 3M11 5.5h.1',
  inspect: 'M7 2a5 5 0 1 0 .1 0M11 11l3 3',
  list: 'M2 4h12M2 8h12M2 12h8',
  note: 'M3 2h7l3 3v9H3zM6 7h4M6 10h4',
  palette: 'M6 2v12M2 2h12v12H2z',
  people:
    'M6 3a2 2 0 1 0 .1 0M2 13c0-5 8-5 8 0M11 4a1.7 1.7 0 1 1 0 3.4M11 9c2 0 3 1.500 3 4',
  pulse: 'M1 9h3l2-5 3 9 2-6 1 2h3',
  redo: 'M13 6H6a3.500 3.500 0 0 0 0 7h4M10 3l3 3-3 3',
  reset: 'M3 6a5.500 5.500 0 1 1-.3 4M3 2v4h4',
  run: 'M4 2.500v11l9-5.500z',
  save: 'M2 2h9l3 3v9H2zM5 2v4h5V2M5 14V9h6v5',
  split: 'M2 8h4l4-5h4M6 8l4 5h4M12 1l2 2-2 2M12 11l2 2-2 2',
  stop: 'M4 4h8v8H4z',
  tag: 'M2 2h6l6 6-6 6-6-6zM5.500 5.500h.1',
  table: 'M2 3h12v10H2zM2 6.500h12M6.500 3v10M2 10h12',
  template: 'M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM11.500 9v5M9 11.500h5',
  trash: 'M3 4h10M6 4V2h4v2M4 4l1 10h6l1-10',
  undo: 'M3 6h7a3.500 3.500 0 0 1 0 7H6M6 3L3 6l3 3',
  versions: 'M8 3a5.500 5.500 0 1 1-5 3M2 3v3h3M8 5.500V9l2 1.500',
  warning: 'M8 2l6.500 12h-13zM8 6.500v4M8 12.300v.1',
  wide: 'M9 7l5-5M10 2h4v4M7 9l-5 5M6 14H2v-4'
} as const;

export type IconName = keyof typeof PATHS;

export function Icon(props: {
  name: IconName;
  label?: string;
}): React.JSX.Element {
  return (
    <svg
      className="mf-flow-icon"
      viewBox="0 0 16 16"
      width="16"
      height="16"
      role={props.label ? 'img' : undefined}
      aria-label={props.label}
      aria-hidden={props.label ? undefined : true}
    >
      <path d={PATHS[props.name]} />
    </svg>
  );
}

/** The picture of a node by what it is about: words of its family or name. */
export function familyIcon(family: string, name: string): IconName {
  const about = `${family} ${name}`.toLowerCase();
  const found = FAMILY_ICONS.find(([word]) => about.includes(word));
  return found ? found[1] : 'form';
}

const FAMILY_ICONS: readonly (readonly [string, IconName])[] = [
  ['split', 'split'],
  ['export', 'export'],
  ['source', 'database'],
  ['filter', 'filter'],
  ['derive', 'formula'],
  ['check', 'check'],
  ['image', 'image'],
  ['augment', 'image'],
  ['table', 'table'],
  ['fusion', 'fuse'],
  ['head', 'head'],
  ['register', 'tag'],
  ['cohort', 'people'],
  ['train', 'pulse'],
  ['model', 'pulse'],
  ['evaluat', 'chart'],
  ['explain', 'chart'],
  ['note', 'note']
];
