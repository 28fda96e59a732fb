import { ReactFlowProvider, useReactFlow } from '@xyflow/react';
import * as React from 'react';

import { Canvas, useAddNode } from './canvas';
import {
  IWords,
  ModelContext,
  useEditor,
  useModel,
  useWords,
  WordsContext
} from './context';
import { EditorModel } from './editorModel';
import { FIT } from './flowNodes';
import { Inspector } from './inspector';
import { useKeptFocus } from './keptFocus';
import { Palette } from './palette';
import { Toolbar } from './toolbar';
import { VersionsPanel } from './versionsPanel';

/** Below this width, in pixels, the palette is closed at first: the canvas comes before it. */
const NARROW = 760;
/** Below this one the inspector lies over the canvas, as workflow.css has it: it is closed until it is asked for. */
const OVER = 640;

interface IEditorProps {
  model: EditorModel;
  words: IWords;
  /** Whether it lies in a page that scrolls: then the wheel zooms only after a click into it. */
  inPage: boolean;
}

/** The workflow editor: palette, canvas, inspector. The same in a notebook's cell and in a tab of JupyterLab. */
export function Editor(props: IEditorProps): React.JSX.Element {
  return (
    <ModelContext.Provider value={props.model}>
      <WordsContext.Provider value={props.words}>
        <ReactFlowProvider>
          <Frame inPage={props.inPage} />
        </ReactFlowProvider>
      </WordsContext.Provider>
    </ModelContext.Provider>
  );
}

function Frame(props: { inPage: boolean }): React.JSX.Element {
  const model = useModel();
  const box = React.useRef<HTMLDivElement>(null);
  const [focused, setFocused] = React.useState(false);
  const [palette, setPalette] = React.useState(true);
  const [inspector, setInspector] = React.useState(true);
  const [versionsShown, setVersionsShown] = React.useState(false);
  const ready = useEditor(state => state.ready);
  const add = useAddNode();
  const onKeyDown = useKeys();
  useKeptFocus(box);
  React.useLayoutEffect(() => {
    const width = box.current?.clientWidth ?? 0;
    if (width > 0 && width < NARROW) {
      setPalette(false);
      setInspector(width > OVER);
    }
  }, []);
  const { versions } = model.transport;
  const wide = () =>
    document.fullscreenElement
      ? document.exitFullscreen()
      : box.current?.requestFullscreen();
  return (
    <div
      className="mf-flow"
      ref={box}
      tabIndex={0}
      data-lm-suppress-shortcuts="true"
      onMouseDown={event => {
        // the keys are for the element with the focus: it must not stay with the notebook's cell
        if (!(event.target as Element).closest(FOCUSABLE)) {
          box.current?.focus({ preventScroll: true });
        }
      }}
      onFocus={() => setFocused(true)}
      onBlur={event =>
        setFocused(event.currentTarget.contains(event.relatedTarget))
      }
      onKeyDown={onKeyDown}
      onCopy={event => copyTo(model, event)}
      onCut={event => {
        if (copyTo(model, event)) {
          model.removeSelected();
        }
      }}
      onPaste={event => {
        if (
          !isTyping(event.target) &&
          model.paste(event.clipboardData.getData('text/plain'))
        ) {
          event.preventDefault();
          event.stopPropagation();
        }
      }}
    >
      <Toolbar
        palette={palette}
        inspector={inspector && !versionsShown}
        versions={versionsShown}
        togglePalette={() => setPalette(!palette)}
        toggleInspector={() => {
          setInspector(versionsShown || !inspector);
          setVersionsShown(false);
        }}
        toggleVersions={
          versions ? () => setVersionsShown(!versionsShown) : undefined
        }
        toggleWide={props.inPage ? () => void wide() : undefined}
      />
      <NoticeBar />
      <div className="mf-flow-body">
        {palette && <Palette add={add} />}
        {ready ? (
          <Canvas
            active={focused || !props.inPage}
            openNode={() => setInspector(true)}
          />
        ) : (
          <div className="mf-flow-canvas" />
        )}
        {versionsShown && versions ? (
          <VersionsPanel
            versions={versions}
            close={() => setVersionsShown(false)}
          />
        ) : (
          inspector && <Inspector />
        )}
      </div>
    </div>
  );
}

/** What went wrong, and after a conflict the two ways out of it. */
function NoticeBar(): React.JSX.Element | null {
  const model = useModel();
  const trans = useWords();
  const notice = useEditor(state => state.notice);
  if (notice === null) {
    return null;
  }
  return (
    <div className="mf-flow-notice" role="alert" data-kind={notice.kind}>
      <span>
        {notice.kind === 'conflict'
          ? trans.__(
              'Somebody saved a newer version meanwhile. What you changed is still here.'
            )
          : notice.words}
      </span>
      {notice.kind === 'conflict' && (
        <>
          <button onClick={() => void model.takeTheirs()}>
            {trans.__('Show theirs')}
          </button>
          <button onClick={() => void model.keepMine()}>
            {trans.__('Save mine as the newest')}
          </button>
        </>
      )}
      <button onClick={() => model.dismissNotice()}>
        {trans.__('Dismiss')}
      </button>
    </div>
  );
}

/** The keys of the editor. What is typed into a field is left to the field. */
function useKeys(): (event: React.KeyboardEvent) => void {
  const model = useModel();
  const flow = useReactFlow();
  const plain: { [key: string]: () => void } = {
    delete: () => model.removeSelected(),
    backspace: () => model.removeSelected(),
    escape: () => model.select(new Set(), new Set()),
    f: () => void flow.fitView({ ...FIT, duration: 200 }),
    l: () => model.arrange()
  };
  const control: { [key: string]: () => void } = {
    a: () => model.selectAll(),
    d: () => model.duplicate(),
    y: () => model.redo(),
    z: () => model.undo(),
    'shift z': () => model.redo()
  };
  const everywhere: { [key: string]: () => void } = {
    s: () => void model.save(),
    enter: () => void model.run()
  };
  return event => {
    // no key that is typed here is one of the notebook's
    event.stopPropagation();
    const { ctrlKey, metaKey, altKey, shiftKey } = event;
    const key = `${shiftKey ? 'shift ' : ''}${event.key.toLowerCase()}`;
    const pressed = ctrlKey || metaKey;
    const action =
      (pressed ? everywhere[key] : undefined) ??
      (isTyping(event.target) || altKey
        ? undefined
        : (pressed ? control : plain)[key]);
    if (action) {
      event.preventDefault();
      action();
    }
  };
}

const FOCUSABLE = 'input, select, textarea, button, summary, a[href]';

function isTyping(target: EventTarget): boolean {
  return (
    target instanceof Element &&
    target.closest('input, select, textarea') !== null
  );
}

/** Put what is selected into the clipboard; false where nothing is, or where text is being edited. */
function copyTo(model: EditorModel, event: React.ClipboardEvent): boolean {
  const text = isTyping(event.target) ? null : model.copy();
  // text that is marked, such as an error, is what a person wants to copy
  if (text === null || window.getSelection()?.toString()) {
    return false;
  }
  event.clipboardData.setData('text/plain', text);
  event.preventDefault();
  event.stopPropagation();
  return true;
}
