import * as React from 'react';

import { INodeType } from './catalogue';
import { IPortPlace, portFor } from './connection';
import { useEditor, useWords } from './context';
import { IPoint } from './graph';
import { familyIcon, Icon } from './icons';

/** Where a node is to be added: `at` in the editor's box, `place` on the canvas; `from`: the edge that was drawn there. */
export interface IAddition {
  readonly at: IPoint;
  readonly place: IPoint;
  readonly from?: IPortPlace;
}

/** A list of node types at a place of the canvas; after an edge was drawn into the void only those that it could lead to. */
export function AddMenu(props: {
  addition: IAddition;
  add: (type: INodeType) => void;
  close: () => void;
}): React.JSX.Element {
  const { addition, add, close } = props;
  const trans = useWords();
  const catalogue = useEditor(state => state.catalogue);
  const graph = useEditor(state => state.graph);
  const [search, setSearch] = React.useState('');
  const [marked, setMarked] = React.useState(0);
  const types = catalogue
    .families(search)
    .flatMap(([, found]) => found)
    .filter(
      type => !addition.from || portFor(graph, catalogue, type, addition.from)
    );
  const onKeyDown = (event: React.KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setMarked((marked + step + types.length) % Math.max(1, types.length));
    } else if (event.key === 'Enter' && types[marked]) {
      add(types[marked]);
    } else if (event.key === 'Escape') {
      close();
    }
  };
  return (
    <div
      className="mf-flow-add"
      style={{ left: addition.at.x, top: addition.at.y }}
      onBlur={event => {
        if (!event.currentTarget.contains(event.relatedTarget)) {
          close();
        }
      }}
    >
      <input
        type="search"
        className="mf-flow-search"
        autoFocus
        value={search}
        placeholder={trans.__('Add a node…')}
        aria-label={trans.__('Add a node')}
        onChange={event => {
          setSearch(event.target.value);
          setMarked(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div role="listbox" className="mf-flow-add-list">
        {types.map((type, k) => (
          <button
            key={type.name}
            role="option"
            aria-selected={k === marked}
            title={type.help}
            onClick={() => add(type)}
          >
            <Icon name={familyIcon(type.family, type.name)} />
            <span>{type.title}</span>
            <small>{type.family}</small>
          </button>
        ))}
        {types.length === 0 && (
          <p className="mf-flow-quiet">
            {addition.from
              ? trans.__('No node takes that.')
              : trans.__('No node is like that.')}
          </p>
        )}
      </div>
    </div>
  );
}
