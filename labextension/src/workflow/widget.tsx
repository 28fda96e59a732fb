import '@xyflow/react/dist/base.css';
import '../../style/workflow.css';

import * as React from 'react';
import { createRoot } from 'react-dom/client';

import { plainWords } from './context';
import { Editor } from './editor';
import { EditorModel } from './editorModel';
import { IMessages, KernelTransport } from './kernelTransport';

/**
 * The editor in a notebook's cell: the module that anywidget loads, with all that it needs. It asks for one of these for each
 * widget, whose views, such as a cell and a copy of its output, show one model: what is done in one is seen in the other.
 */
export default () => {
  let shared: EditorModel | null = null;
  return {
    initialize(given: { model: IMessages }): () => void {
      const model = new EditorModel(new KernelTransport(given.model));
      shared = model;
      void model.open();
      return () => model.dispose();
    },
    render(given: { el: HTMLElement }): () => void {
      const root = createRoot(given.el);
      given.el.classList.add('mf-flow-cell');
      root.render(
        shared && <Editor model={shared} words={plainWords} inPage />
      );
      return () => root.unmount();
    }
  };
};
