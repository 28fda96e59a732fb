import { useReactFlow } from '@xyflow/react';
import * as React from 'react';

import { useEditor, useModel, useWords } from './context';
import { endedNodes, isActive, isStopping } from './execution';
import { FIT } from './flowNodes';
import { Icon, IconName } from './icons';
import { stepFocus } from './stepFocus';

interface IToolbarProps {
  palette: boolean;
  inspector: boolean;
  versions: boolean;
  togglePalette: () => void;
  toggleInspector: () => void;
  /** Absent where a workflow has no versions. */
  toggleVersions?: () => void;
  /** Absent where the editor fills its place already. */
  toggleWide?: () => void;
}

/** Run, save, undo, layout, versions, and how things stand. */
export function Toolbar(props: IToolbarProps): React.JSX.Element {
  const model = useModel();
  const trans = useWords();
  const showAll = useShowAll();
  const active = useEditor(state => isActive(state.execution));
  const stopping = useEditor(state => isStopping(state.execution));
  const empty = useEditor(state => state.graph.nodes.length === 0);
  const issues = useEditor(state => state.issues.length);
  const unsaved = useEditor(state => state.unsaved || state.version === null);
  const waiting = useEditor(state => state.waiting !== '');
  const canUndo = useEditor(state => state.canUndo);
  const canRedo = useEditor(state => state.canRedo);
  return (
    <div
      className="mf-flow-toolbar"
      role="toolbar"
      aria-label={trans.__('Workflow')}
    >
      <Tool
        icon="palette"
        label={trans.__('Node types')}
        pressed={props.palette}
        onClick={props.togglePalette}
      />
      {active ? (
        <button
          className="mf-flow-stop"
          disabled={waiting || stopping}
          title={
            stopping
              ? trans.__(
                  'It ends when the node at work does. One that never does ends with its kernel: restart that.'
                )
              : undefined
          }
          onClick={() => void model.stop()}
        >
          <Icon name="stop" />
          {trans.__('Stop')}
        </button>
      ) : (
        <button
          className="mf-flow-run"
          disabled={empty || waiting || issues > 0}
          title={
            issues > 0 && !empty
              ? trans.__('There is something to mend first')
              : trans.__('Save and run (Ctrl Enter)')
          }
          onClick={() => void model.run()}
        >
          <Icon name="run" />
          {trans.__('Run')}
        </button>
      )}
      <button
        className="mf-flow-save"
        disabled={!unsaved || waiting}
        title={trans.__('Save (Ctrl S)')}
        onClick={() => void model.save()}
      >
        <Icon name="save" />
        {trans.__('Save')}
      </button>
      <i />
      <Tool
        icon="undo"
        label={trans.__('Undo (Ctrl Z)')}
        disabled={!canUndo}
        onClick={() => model.undo()}
      />
      <Tool
        icon="redo"
        label={trans.__('Redo (Ctrl Shift Z)')}
        disabled={!canRedo}
        onClick={() => model.redo()}
      />
      <i />
      <Tool
        icon="arrange"
        label={trans.__('Lay out (L)')}
        disabled={empty}
        onClick={() => {
          model.arrange();
          showAll();
        }}
      />
      <Templates />
      <Status />
      {props.toggleVersions && (
        <Tool
          icon="versions"
          label={trans.__('Versions')}
          pressed={props.versions}
          onClick={props.toggleVersions}
        />
      )}
      <Tool
        icon="form"
        label={trans.__('Inspector')}
        pressed={props.inspector}
        onClick={props.toggleInspector}
      />
      {props.toggleWide && (
        <Tool
          icon="wide"
          label={trans.__('Full screen')}
          onClick={props.toggleWide}
        />
      )}
    </div>
  );
}

/** Have the whole graph in sight, once what was changed of it is drawn. */
function useShowAll(): () => void {
  const flow = useReactFlow();
  return () => void window.setTimeout(() => void flow.fitView(FIT));
}

/** How things stand, in few words: the run, the problems, what is saved. */
function Status(): React.JSX.Element {
  const trans = useWords();
  const { versions } = useModel().transport;
  const waiting = useEditor(state => state.waiting);
  const execution = useEditor(state => state.execution);
  const issues = useEditor(state => state.issues.length);
  const empty = useEditor(state => state.graph.nodes.length === 0);
  const unsaved = useEditor(state => state.unsaved);
  const checked = useEditor(state => state.checked);
  const version = useEditor(state => state.version);
  const saved = unsaved
    ? trans.__('unsaved changes')
    : version === null
      ? trans.__('not saved yet')
      : versions === null
        ? trans.__('saved')
        : trans.__('version %1', version);
  const run =
    execution && isActive(execution)
      ? execution.status === 'pending'
        ? trans.__('waiting for its turn')
        : trans.__(
            isStopping(execution) ? 'stopping, %1/%2' : 'running %1/%2',
            endedNodes(execution),
            execution.nodes.length
          )
      : '';
  return (
    <div className="mf-flow-status" role="status" aria-busy={!checked}>
      {waiting && <span>{waiting} …</span>}
      {run && <span data-kind="run">{run}</span>}
      {issues > 0 && !empty && (
        <span data-kind="issues">
          <Icon name="warning" />
          {issues === 1
            ? trans.__('1 problem')
            : trans.__('%1 problems', issues)}
        </span>
      )}
      <span>{saved}</span>
    </div>
  );
}

function Templates(): React.JSX.Element | null {
  const model = useModel();
  const trans = useWords();
  const showAll = useShowAll();
  const templates = useEditor(state => state.templates);
  const [open, setOpen] = React.useState(false);
  const box = React.useRef<HTMLDivElement>(null);
  if (templates.length === 0) {
    return null;
  }
  return (
    <div
      className="mf-flow-menu"
      onBlur={event => {
        if (!event.currentTarget.contains(event.relatedTarget)) {
          setOpen(false);
        }
      }}
      onKeyDown={event => {
        if (event.key === 'Escape' && open) {
          event.stopPropagation();
          setOpen(false);
          box.current?.querySelector('button')?.focus();
        } else {
          stepFocus(event, open ? box.current : null);
        }
      }}
      ref={box}
    >
      <Tool
        icon="template"
        label={trans.__('Templates')}
        pressed={open}
        onClick={() => setOpen(!open)}
      />
      {open && (
        <div role="menu">
          {templates.map(template => (
            <button
              key={template.name}
              role="menuitem"
              onClick={() => {
                model.insertTemplate(template);
                showAll();
                setOpen(false);
              }}
            >
              <strong>{template.title}</strong>
              <span>{template.help}</span>
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

function Tool(props: {
  icon: IconName;
  label: string;
  disabled?: boolean;
  pressed?: boolean;
  onClick: () => void;
}): React.JSX.Element {
  return (
    <button
      className="mf-flow-iconbutton"
      title={props.label}
      aria-label={props.label}
      aria-pressed={props.pressed}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}
