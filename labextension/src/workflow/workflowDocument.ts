import {
  ABCWidgetFactory,
  DocumentRegistry,
  DocumentWidget
} from '@jupyterlab/docregistry';

import { TranslationBundle } from '@jupyterlab/translation';

import { medfusionIcon } from '../icon';
import { IWords } from './context';
import { DocumentTransport } from './documentTransport';
import { toJson } from './graph';
import { WorkflowApi } from './workflowApi';
import { WorkflowView } from './workflowView';

type WorkflowDocument = DocumentWidget<WorkflowView>;

const FILE_TYPE = 'medflow';

/** Have `.medflow.json` files open in the workflow editor. */
export function addWorkflowDocuments(
  registry: DocumentRegistry,
  api: WorkflowApi,
  trans: TranslationBundle
): void {
  registry.addFileType({
    name: FILE_TYPE,
    displayName: trans.__('Workflow'),
    extensions: ['.medflow.json'],
    mimeTypes: ['application/json'],
    fileFormat: 'text',
    contentType: 'file',
    icon: medfusionIcon
  });
  const options = {
    name: 'Workflow editor',
    label: trans.__('Workflow editor'),
    modelName: 'text',
    fileTypes: [FILE_TYPE],
    defaultFor: [FILE_TYPE]
  };
  registry.addWidgetFactory(new WorkflowDocumentFactory(options, api, trans));
}

class WorkflowDocumentFactory extends ABCWidgetFactory<WorkflowDocument> {
  constructor(
    options: DocumentRegistry.IWidgetFactoryOptions<WorkflowDocument>,
    private _api: WorkflowApi,
    private _words: IWords
  ) {
    super(options);
  }

  protected override createNewWidget(
    context: DocumentRegistry.Context
  ): WorkflowDocument {
    const transport = new DocumentTransport(this._api, context);
    const content = new WorkflowView(transport, this._words);
    void content.model.then(model => {
      // the file was read again, or another view of the document has changed it
      context.model.contentChanged.connect(() => {
        if (model.state.ready && transport.isOther(toJson(model.state.graph))) {
          void model.takeTheirs();
        }
      });
      context.saveState.connect((_, state) => {
        if (state === 'completed') {
          model.markSaved();
        }
      });
    });
    const widget = new DocumentWidget({ content, context });
    // the editor has its own
    widget.toolbar.hide();
    return widget;
  }
}
