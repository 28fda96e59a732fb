import * as React from 'react';

import { ago } from '../format';
import { useEditor, useModel, useNow, useWords } from './context';
import { readGraph } from './graph';
import { Icon } from './icons';
import { shown } from './settingsSchema';
import { IDifference, IVersion, IVersions } from './transport';

/** The saves of the workflow, newest first: compared with the newest, and restored. */
export function VersionsPanel(props: {
  versions: IVersions;
  close: () => void;
}): React.JSX.Element {
  const { versions, close } = props;
  const model = useModel();
  const trans = useWords();
  const now = useNow();
  const newest = useEditor(state => state.version);
  const [saves, setSaves] = React.useState<readonly IVersion[]>([]);
  const [compared, setCompared] = React.useState<number | null>(null);
  const [difference, setDifference] = React.useState<IDifference | null>(null);
  const [trouble, setTrouble] = React.useState('');
  const tell = React.useCallback(
    (error: unknown) =>
      setTrouble(error instanceof Error ? error.message : String(error)),
    []
  );
  React.useEffect(() => {
    versions.list().then(setSaves, tell);
  }, [versions, newest, tell]);
  // what was compared was compared with another newest
  const [comparedWith, setComparedWith] = React.useState(newest);
  if (comparedWith !== newest) {
    setComparedWith(newest);
    setCompared(null);
  }
  const compare = (version: number) => {
    setCompared(version);
    setDifference(null);
    if (newest !== null) {
      versions.difference(version, newest).then(setDifference, tell);
    }
  };
  return (
    <aside className="mf-flow-inspector" aria-label={trans.__('Versions')}>
      <header>
        <Icon name="versions" />
        <h3>{trans.__('Versions')}</h3>
        <button
          className="mf-flow-iconbutton"
          title={trans.__('Close')}
          aria-label={trans.__('Close versions')}
          onClick={close}
        >
          <Icon name="close" />
        </button>
      </header>
      {trouble && <p role="alert">{trouble}</p>}
      <p className="mf-flow-help">
        {trans.__('Each save is kept. A click compares one with the newest.')}
      </p>
      <ul className="mf-flow-versions">
        {saves.map(one => (
          <li key={one.version} data-version={one.version}>
            <div className="mf-flow-row">
              <button
                className="mf-flow-version"
                aria-expanded={compared === one.version}
                disabled={one.version === newest}
                onClick={() => compare(one.version)}
              >
                <strong>{trans.__('version %1', one.version)}</strong>
                <span className="mf-flow-quiet">
                  {[ago(one.created_at, now), one.created_by]
                    .filter(Boolean)
                    .join(' · ')}
                </span>
              </button>
              {one.version === newest ? (
                <small>{trans.__('newest')}</small>
              ) : (
                <button
                  onClick={() => void model.restore(one.version)}
                  title={trans.__('Save this one again as the newest')}
                >
                  {trans.__('Restore')}
                </button>
              )}
            </div>
            {compared === one.version && difference && (
              <Difference difference={difference} version={one} />
            )}
          </li>
        ))}
      </ul>
    </aside>
  );
}

function Difference(props: {
  difference: IDifference;
  version: IVersion;
}): React.JSX.Element {
  const trans = useWords();
  const { difference, version } = props;
  const catalogue = useEditor(state => state.catalogue);
  const types = new Map(
    readGraph(version).nodes.map(node => [node.id, node.type])
  );
  /** A value as it is shown: of a setting that is not set, its default. */
  const told = (id: unknown, name: string, value: unknown) => {
    const fields = catalogue.fields(types.get(String(id)) ?? '');
    const field = fields.find(one => `settings.${one.name}` === name);
    return shown(value ?? field?.default);
  };
  const lines = [
    ...difference.nodes_added.map(node => `+ ${String(node.id)}`),
    ...difference.nodes_removed.map(node => `− ${String(node.id)}`),
    ...difference.nodes_changed.flatMap(node =>
      node.changes
        .filter(change => change.name !== 'position')
        .map(
          change =>
            `${String(node.id)}: ${change.name.replace('settings.', '')} ${told(node.id, change.name, change.before)} → ${told(node.id, change.name, change.after)}`
        )
    )
  ];
  const edges = [
    difference.edges_added.length > 0
      ? trans.__('+ %1 edges', difference.edges_added.length)
      : '',
    difference.edges_removed.length > 0
      ? trans.__('− %1 edges', difference.edges_removed.length)
      : ''
  ].filter(Boolean);
  const all = [...lines, ...edges];
  return (
    <ul className="mf-flow-difference">
      {all.length === 0 && (
        <li>{trans.__('The same, but for where nodes stand.')}</li>
      )}
      {all.map((line, k) => (
        <li key={k}>{line}</li>
      ))}
    </ul>
  );
}
