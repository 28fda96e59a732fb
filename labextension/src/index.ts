import {
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  Dialog,
  ICommandPalette,
  Notification,
  showDialog
} from '@jupyterlab/apputils';
import { Contents } from '@jupyterlab/services';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api, Command } from './api';
import { askForChanges } from './changeDialog';
import { Feed } from './feed';
import { medfusionIcon } from './icon';
import { openJobMenu } from './jobMenu';
import { PanelModel } from './model';
import { MedFusionPanel } from './panel';
import { WorkflowApi } from './workflow/workflowApi';
import { WorkflowList } from './workflowList';
import { WorkflowCommands, workflowPlugin } from './workflowPlugin';

const QUICKSTART = '01-quickstart.ipynb';
const QUICKSTART_FOLDERS = ['', 'notebooks'];

namespace CommandIDs {
  export const open = 'medfusion:open-panel';
  export const refresh = 'medfusion:refresh';
  export const pause = 'medfusion:pause-job';
  export const resume = 'medfusion:resume-job';
  export const stop = 'medfusion:stop-job';
  export const checkpoint = 'medfusion:checkpoint-job';
  export const change = 'medfusion:change-job';
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'medfusion-jupyter:panel',
  description: 'Lists training jobs and models, live.',
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
  const { commands, serviceManager } = app;
  const settings = serviceManager.serverSettings;
  const feed = new Feed(settings);
  const model = new PanelModel(new Api(settings), feed, () =>
    findQuickstart(serviceManager.contents)
  );
  const workflows = new WorkflowList(new WorkflowApi(settings), feed);
  const panel = new MedFusionPanel({
    model,
    workflows,
    openWorkflow: workflow_id =>
      void commands.execute(WorkflowCommands.open, { workflow_id }),
    newWorkflow: () => void commands.execute(WorkflowCommands.create),
    trans,
    ask: (command, jobId) =>
      void commands.execute(`medfusion:${command}-job`, { job_id: jobId }),
    openMenu: (job, button) => openJobMenu(commands, job, button),
    refresh: () => void commands.execute(CommandIDs.refresh),
    openNotebook: path => void commands.execute('docmanager:open', { path })
  });
  app.shell.add(panel, 'left', { rank: 600, type: 'MedFusion' });
  restorer?.add(panel, panel.id);

  const said = (error: unknown) =>
    void Notification.error(
      error instanceof Error ? error.message : String(error),
      // without it only the bell would ring
      { autoClose: 10000 }
    );

  commands.addCommand(CommandIDs.open, {
    label: trans.__('Show MedFusion jobs and models'),
    icon: medfusionIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => app.shell.activateById(panel.id)
  });
  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh MedFusion jobs and models'),
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => model.refresh().catch(said)
  });
  const describedBy = {
    args: {
      type: 'object' as const,
      required: ['job_id'],
      properties: {
        job_id: { type: 'string' as const },
        // in the menu of a job: without saying again that it is one
        short: { type: 'boolean' as const }
      }
    }
  };
  const ofJob: [string, Command, string, string][] = [
    [
      CommandIDs.pause,
      'pause',
      trans.__('Pause'),
      trans.__('Pause a training job')
    ],
    [
      CommandIDs.resume,
      'resume',
      trans.__('Resume'),
      trans.__('Resume a training job')
    ],
    [
      CommandIDs.stop,
      'stop',
      trans.__('Stop…'),
      trans.__('Stop a training job')
    ],
    [
      CommandIDs.checkpoint,
      'checkpoint',
      trans.__('Checkpoint now'),
      trans.__('Save a training job now')
    ]
  ];
  for (const [id, command, short, label] of ofJob) {
    commands.addCommand(id, {
      label: args => (args['short'] ? short : label),
      describedBy,
      execute: async args => {
        const jobId = String(args['job_id']);
        if (command === 'stop' && !(await confirmed(jobId))) {
          return;
        }
        await model.command(command, jobId).catch(said);
      }
    });
  }
  commands.addCommand(CommandIDs.change, {
    label: args =>
      args['short']
        ? trans.__('Change settings…')
        : trans.__('Change settings of a training job'),
    describedBy,
    execute: async args => {
      const jobId = String(args['job_id']);
      try {
        const settings = await model.settings(jobId);
        await askForChanges(jobId, settings, trans, changes =>
          model.change(jobId, changes)
        );
      } catch (error) {
        said(error);
      }
    }
  });
  for (const command of [CommandIDs.open, CommandIDs.refresh]) {
    palette?.addItem({ command, category: 'MedFusion' });
  }

  async function confirmed(jobId: string): Promise<boolean> {
    const answer = await showDialog({
      title: trans.__('Stop %1?', jobId),
      body: trans.__(
        'It ends after the batch under way. Its best epoch is kept as a model, and it can be resumed.'
      ),
      defaultButton: 0,
      buttons: [
        Dialog.cancelButton(),
        Dialog.warnButton({ label: trans.__('Stop') })
      ]
    });
    return answer.button.accept;
  }
}

/** Folders are listed and no path is guessed: a miss would be an error in the browser's console. */
async function findQuickstart(
  contents: Contents.IManager
): Promise<string | null> {
  for (const folder of QUICKSTART_FOLDERS) {
    const listing = await contents.get(folder);
    const entries: Contents.IModel[] = listing.content;
    if (entries.some(entry => entry.name === QUICKSTART)) {
      return folder ? `${folder}/${QUICKSTART}` : QUICKSTART;
    }
    if (
      !entries.some(
        entry => entry.name === 'notebooks' && entry.type === 'directory'
      )
    ) {
      return null;
    }
  }
  return null;
}

export default [plugin, workflowPlugin];
