import { InputDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';

import { CommandIDs } from './commandIDs';
import { medfusionIcon } from './icon';
import { asAsked, confirmed } from './telling';
import { WorkflowTabs } from './workflow/workflowTabs';
import { WorkflowList } from './workflowList';

/** Add what a person can ask of the stored workflows. */
export function addWorkflowCommands(
  commands: CommandRegistry,
  workflows: WorkflowList,
  tabs: WorkflowTabs,
  trans: TranslationBundle
): void {
  const add = (
    id: string,
    short: string,
    label: string,
    work: (workflowId: number) => Promise<unknown>
  ) =>
    commands.addCommand(id, {
      label: args => (args['short'] ? short : label),
      describedBy: {
        args: {
          type: 'object',
          required: ['workflow_id'],
          properties: {
            workflow_id: { type: 'integer' },
            short: { type: 'boolean' }
          }
        }
      },
      execute: args => asAsked(() => work(Number(args['workflow_id'])), trans)
    });

  commands.addCommand(CommandIDs.newWorkflow, {
    label: trans.__('New workflow…'),
    icon: medfusionIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () =>
      asAsked(async () => {
        const answer = await InputDialog.getText({
          title: trans.__('New workflow'),
          label: trans.__('Its name'),
          okLabel: trans.__('Create'),
          text: 'workflow'
        });
        const name = answer.value?.trim();
        if (answer.button.accept && name) {
          await tabs.open(await workflows.create(name));
        }
      }, trans)
  });
  add(
    CommandIDs.openWorkflow,
    trans.__('Open'),
    trans.__('Open a workflow'),
    id => tabs.open(id)
  );
  add(CommandIDs.runWorkflow, trans.__('Run'), trans.__('Run a workflow'), id =>
    workflows.run(id)
  );
  add(
    CommandIDs.stopWorkflow,
    trans.__('Stop'),
    trans.__('Stop a workflow'),
    id => workflows.stop(id)
  );
  add(
    CommandIDs.deleteWorkflow,
    trans.__('Delete…'),
    trans.__('Delete a workflow'),
    async id => {
      const sure = await confirmed(
        trans.__('Delete %1?', await workflows.nameOf(id)),
        trans.__(
          'Its versions and what is known of its runs go with it. This cannot be undone.'
        ),
        trans.__('Delete')
      );
      if (sure) {
        await workflows.delete(id);
        tabs.close(id);
      }
    }
  );
}
