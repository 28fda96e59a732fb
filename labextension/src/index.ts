import {
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from './api';
import { CommandIDs } from './commandIDs';
import { Feed } from './feed';
import { medfusionIcon } from './icon';
import { addJobCommands } from './jobCommands';
import { PanelModel } from './model';
import { MedFusionPanel } from './panel';
import { findQuickstart } from './quickstart';
import { quietly } from './search';
import { WorkflowApi } from './workflow/workflowApi';
import { addWorkflowDocuments } from './workflow/workflowDocument';
import { WorkflowTabs } from './workflow/workflowTabs';
import { addWorkflowCommands } from './workflowCommands';
import { WorkflowList } from './workflowList';

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'medfusion-jupyter:plugin',
  description:
    'Lists training jobs, models and workflows, live, and opens workflows in an editor.',
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
  const { commands, docRegistry, serviceManager, shell } = app;
  const settings = serviceManager.serverSettings;

  const feed = new Feed(settings);
  const model = new PanelModel(new Api(settings), feed, () =>
    findQuickstart(serviceManager.contents)
  );
  const workflowApi = new WorkflowApi(settings);
  const workflows = new WorkflowList(workflowApi, feed);
  const tabs = new WorkflowTabs(shell, workflowApi, trans);
  const panel = new MedFusionPanel({ model, workflows, commands, trans });
  shell.add(panel, 'left', { rank: 600, type: 'MedFusion' });

  const noArgs = { args: { type: 'object' as const, properties: {} } };
  commands.addCommand(CommandIDs.openPanel, {
    label: trans.__('Show MedFusion jobs, models and workflows'),
    icon: medfusionIcon,
    describedBy: noArgs,
    execute: () => shell.activateById(panel.id)
  });
  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh MedFusion jobs, models and workflows'),
    describedBy: noArgs,
    execute: () => {
      quietly(model.refresh());
      quietly(workflows.refresh());
    }
  });
  addJobCommands(commands, model, trans);
  addWorkflowCommands(commands, workflows, tabs, trans);
  addWorkflowDocuments(docRegistry, workflowApi, trans);

  for (const command of [
    CommandIDs.openPanel,
    CommandIDs.refresh,
    CommandIDs.newWorkflow
  ]) {
    palette?.addItem({ command, category: 'MedFusion' });
  }
  restorer?.add(panel, panel.id);
  if (restorer) {
    tabs.restore(restorer, CommandIDs.openWorkflow);
  }
}

export default plugin;
