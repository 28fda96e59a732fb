import { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';

import { askForChanges } from './changeDialog';
import { CommandIDs } from './commandIDs';
import { askForFork } from './forkDialog';
import { PanelModel } from './model';
import { asAsked, confirmed, tellDone } from './telling';

/** Add what a person can ask of a training job, and of the model that it left. */
export function addJobCommands(
  commands: CommandRegistry,
  model: PanelModel,
  trans: TranslationBundle
): void {
  const add = (
    id: string,
    short: string,
    label: string,
    work: (jobId: string) => Promise<unknown>
  ) =>
    commands.addCommand(id, {
      label: args => (args['short'] ? short : label),
      describedBy: {
        args: {
          type: 'object',
          required: ['job_id'],
          properties: { job_id: { type: 'string' }, short: { type: 'boolean' } }
        }
      },
      execute: args => asAsked(() => work(String(args['job_id'])), trans)
    });

  add(
    CommandIDs.pauseJob,
    trans.__('Pause'),
    trans.__('Pause a training job'),
    jobId => model.command('pause', jobId)
  );
  add(
    CommandIDs.resumeJob,
    trans.__('Resume'),
    trans.__('Resume a training job'),
    jobId => model.command('resume', jobId)
  );
  add(
    CommandIDs.checkpointJob,
    trans.__('Checkpoint now'),
    trans.__('Save a training job now'),
    jobId => model.command('checkpoint', jobId)
  );
  add(
    CommandIDs.stopJob,
    trans.__('Stop…'),
    trans.__('Stop a training job'),
    async jobId => {
      const sure = await confirmed(
        trans.__('Stop %1?', jobId),
        trans.__(
          'It ends after the batch under way. Its best epoch is kept as a model, and it can be resumed.'
        ),
        trans.__('Stop')
      );
      if (sure) {
        await model.command('stop', jobId);
      }
    }
  );
  add(
    CommandIDs.changeJob,
    trans.__('Change settings…'),
    trans.__('Change settings of a training job'),
    async jobId => {
      const settings = await model.settings(jobId);
      await askForChanges(jobId, settings, trans, changes =>
        model.change(jobId, changes)
      );
    }
  );
  add(
    CommandIDs.forkJob,
    trans.__('Fork…'),
    trans.__('Fork a training job'),
    async jobId => {
      const form = await model.forkForm(jobId);
      if (form.checkpoints.length === 0) {
        throw new Error(
          trans.__('%1 has no checkpoint yet to begin a fork from.', jobId)
        );
      }
      await askForFork(jobId, form, trans, async fork => {
        const made = await model.fork(jobId, fork);
        tellDone(trans.__('%1 is queued.', made.job_id));
      });
    }
  );
  add(
    CommandIDs.deleteJob,
    trans.__('Delete…'),
    trans.__('Delete a training job'),
    async jobId => {
      const sure = await confirmed(
        trans.__('Delete %1?', jobId),
        trans.__(
          'Its curves and checkpoints go with it, of a cross-validation also its folds and their models. This cannot be undone.'
        ),
        trans.__('Delete')
      );
      if (sure) {
        await model.deleteJob(jobId);
      }
    }
  );

  commands.addCommand(CommandIDs.deleteModel, {
    label: args =>
      args['short'] ? trans.__('Delete…') : trans.__('Delete a model'),
    describedBy: {
      args: {
        type: 'object',
        required: ['model_id', 'name'],
        properties: {
          model_id: { type: 'integer' },
          name: { type: 'string' },
          short: { type: 'boolean' }
        }
      }
    },
    execute: args =>
      asAsked(async () => {
        const sure = await confirmed(
          trans.__('Delete the model %1?', args['name']),
          trans.__(
            'Its weights go with it; the job that it came of stays. This cannot be undone.'
          ),
          trans.__('Delete')
        );
        if (sure) {
          await model.deleteModel(Number(args['model_id']));
        }
      }, trans)
  });
}
