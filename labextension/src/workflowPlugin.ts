import {
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  ICommandPalette,
  InputDialog,
  MainAreaWidget,
  Notification,
  WidgetTracker
} from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { medfusionIcon } from './icon';
import { ServerTransport } from './workflow/serverTransport';
import { WorkflowApi } from './workflow/workflowApi';
import { WorkflowDocumentFactory } from './workflow/workflowDocument';
import { WorkflowView } from './workflow/workflowView';

const FILE_TYPE = 'medflow';
const FACTORY = 'Workflow editor';

export namespace WorkflowCommands {
  export const open = 'medfusion:open-workflow';
  export const create = 'medfusion:new-workflow';
}

/** Opens workflows in the editor: stored ones in a tab, and `.medflow.json` files as documents. */
export const workflowPlugin: JupyterFrontEndPlugin<void> = {
  id: 'medfusion-jupyter:workflows',
  description: 'Opens workflows in an editor.',
  autoStart: true,
  optional: [ILayoutRestorer, ICommandPalette, ITranslator],
  activate
};

function activate(
  app: JupyterFrontEnd,
  restorer: ILayoutRestorer | null,
  palette: ICommandPalette | null,
  translator: ITranslator | null
): void {
  const trans = (translator ?? nullTranslator).load('medfusion_jupyter');
  const { commands, docRegistry, shell, serviceManager } = app;
  const api = new WorkflowApi(serviceManager.serverSettings);
  const tracker = new WidgetTracker<MainAreaWidget<WorkflowView>>({
    namespace: 'medfusion-workflows'
  });
  const ids = new WeakMap<MainAreaWidget<WorkflowView>, number>();

  const open = async (id: number) => {
    const there = tracker.find(widget => ids.get(widget) === id);
    if (there) {
      shell.activateById(there.id);
      return;
    }
    const { name } = await api.get(id);
    const content = new WorkflowView(new ServerTransport(api, id), trans);
    const widget = new MainAreaWidget({ content });
    widget.id = `medfusion-workflow-${id}`;
    widget.title.label = name;
    widget.title.icon = medfusionIcon;
    widget.title.closable = true;
    // the editor has its own
    widget.toolbar.hide();
    ids.set(widget, id);
    void content.model.then(model =>
      model.subscribe(() => {
        widget.title.label = model.state.unsaved ? `${name} *` : name;
      })
    );
    await tracker.add(widget);
    shell.add(widget, 'main', { type: 'MedFusion workflow' });
    shell.activateById(widget.id);
  };
  const create = async () => {
    const answer = await InputDialog.getText({
      title: trans.__('New workflow'),
      label: trans.__('Its name'),
      okLabel: trans.__('Create'),
      text: 'workflow'
    });
    const name = answer.value?.trim();
    if (answer.button.accept && name) {
      const made = await api.create(name, { nodes: [], edges: [] });
      await open(made.id);
    }
  };
  const said = (error: unknown) =>
    void Notification.error(
      error instanceof Error ? error.message : String(error)
    );

  commands.addCommand(WorkflowCommands.open, {
    label: trans.__('Open a workflow'),
    icon: medfusionIcon,
    describedBy: {
      args: {
        type: 'object',
        required: ['workflow_id'],
        properties: { workflow_id: { type: 'integer' } }
      }
    },
    execute: args => open(Number(args['workflow_id'])).catch(said)
  });
  commands.addCommand(WorkflowCommands.create, {
    label: trans.__('New workflow…'),
    icon: medfusionIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => create().catch(said)
  });
  palette?.addItem({ command: WorkflowCommands.create, category: 'MedFusion' });
  void restorer?.restore(tracker, {
    command: WorkflowCommands.open,
    args: widget => ({ workflow_id: ids.get(widget) ?? 0 }),
    name: widget => widget.id
  });

  docRegistry.addFileType({
    name: FILE_TYPE,
    displayName: trans.__('Workflow'),
    extensions: ['.medflow.json'],
    mimeTypes: ['application/json'],
    fileFormat: 'text',
    contentType: 'file',
    icon: medfusionIcon
  });
  const factory = new WorkflowDocumentFactory(
    {
      name: FACTORY,
      label: trans.__('Workflow editor'),
      modelName: 'text',
      fileTypes: [FILE_TYPE],
      defaultFor: [FILE_TYPE]
    },
    api,
    trans
  );
  docRegistry.addWidgetFactory(factory);
}
