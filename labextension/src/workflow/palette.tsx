import * as React from 'react';

import { INodeType } from './catalogue';
import { useEditor, useWords } from './context';
import { familyIcon, Icon } from './icons';
import { stepFocus } from './stepFocus';

/** What a node type that is dragged from the palette is called on the way. */
export const DRAGGED = 'application/x-medfusion-node-type';

/** The node types by family, to be dragged onto the canvas or clicked. */
export function Palette(props: {
  add: (type: INodeType) => void;
}): React.JSX.Element {
  const trans = useWords();
  const catalogue = useEditor(state => state.catalogue);
  const [search, setSearch] = React.useState('');
  const families = catalogue.families(search);
  const first = families[0]?.[1][0];
  return (
    <div
      className="mf-flow-palette"
      role="group"
      aria-label={trans.__('Node types')}
      onKeyDown={event => stepFocus(event, event.currentTarget)}
    >
      <input
        type="search"
        className="mf-flow-search"
        value={search}
        placeholder={trans.__('Search nodes…')}
        aria-label={trans.__('Search nodes')}
        onChange={event => setSearch(event.target.value)}
        onKeyDown={event => {
          if (event.key === 'Enter' && first) {
            props.add(first);
          } else if (event.key === 'Escape') {
            setSearch('');
          }
        }}
      />
      <div className="mf-flow-palette-list">
        {families.map(([family, types]) => (
          <section key={family}>
            <h4>{family}</h4>
            {types.map(type => (
              <PaletteItem key={type.name} type={type} add={props.add} />
            ))}
          </section>
        ))}
        {families.length === 0 && (
          <p className="mf-flow-quiet">{trans.__('No node is like that.')}</p>
        )}
      </div>
    </div>
  );
}

function PaletteItem(props: {
  type: INodeType;
  add: (type: INodeType) => void;
}): React.JSX.Element {
  const { type } = props;
  const trans = useWords();
  return (
    <button
      className="mf-flow-palette-item"
      draggable
      data-node-type={type.name}
      title={`${type.help}\n${trans.__('Drag it onto the canvas, or click to add it after the selected node.')}`}
      onClick={() => props.add(type)}
      onDragStart={event => {
        event.dataTransfer.setData(DRAGGED, type.name);
        event.dataTransfer.effectAllowed = 'copy';
      }}
    >
      <Icon name={familyIcon(type.family, type.name)} />
      <span>{type.title}</span>
    </button>
  );
}
