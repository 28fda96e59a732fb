import '@xyflow/react/dist/base.css';
import '../../style/workflow.css';

import * as React from 'react';
import { createRoot } from 'react-dom/client';

import { plainWords } from './context';
import { Editor } from './editor';
import { EditorModel } from './editorModel';
import { IMessages, KernelTransport } from './kernelTransport';

/** The editor in a notebook's cell: the module that anywidget loads, with all that it needs. */
function render(given: { model: IMessages; el: HTMLElement }): () => void {
  const model = new EditorModel(new KernelTransport(given.model));
  const root = createRoot(given.el);
  given.el.classList.add('mf-flow-cell');
  root.render(<Editor model={model} words={plainWords} inPage />);
  void model.open();
  return () => {
    root.unmount();
    model.dispose();
  };
}

export default { render };
