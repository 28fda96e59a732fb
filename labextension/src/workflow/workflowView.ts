import { Panel } from '@lumino/widgets';

import { IWords } from './context';
import type { EditorModel } from './editorModel';
import { ITransport } from './transport';

/** The place of a workflow editor: empty until the editor's code has come. */
export class WorkflowView extends Panel {
  constructor(transport: ITransport, words: IWords) {
    super();
    this.addClass('jp-MedFusion-workflowView');
    this.model = this._load(transport, words);
  }

  /** The model of the editor. */
  readonly model: Promise<EditorModel>;

  private async _load(
    transport: ITransport,
    words: IWords
  ): Promise<EditorModel> {
    const [{ LabEditor }, { EditorModel }] = await Promise.all([
      import('./labEditor'),
      import('./editorModel')
    ]);
    const model = new EditorModel(transport);
    if (this.isDisposed) {
      model.dispose();
    } else {
      this.addWidget(new LabEditor(model, words));
    }
    return model;
  }
}
