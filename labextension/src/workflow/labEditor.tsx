import '@xyflow/react/dist/base.css';
import '../../style/workflow.css';

import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IWords } from './context';
import { Editor } from './editor';
import { EditorModel } from './editorModel';

/** The workflow editor as a widget of JupyterLab. This module, with the libraries it needs, is loaded when one is opened. */
export class LabEditor extends ReactWidget {
  constructor(
    readonly model: EditorModel,
    private _words: IWords
  ) {
    super();
    this.addClass('jp-MedFusion-workflow');
    void model.open();
  }

  override dispose(): void {
    this.model.dispose();
    super.dispose();
  }

  protected override render(): React.JSX.Element {
    return <Editor model={this.model} words={this._words} inPage={false} />;
  }
}
