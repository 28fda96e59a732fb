import {
  ReactWidget,
  refreshIcon,
  SidePanel,
  ToolbarButton
} from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { CommandIDs } from './commandIDs';
import { medfusionIcon } from './icon';
import { jobMenu } from './jobMenu';
import { Jobs } from './jobs';
import { PanelModel } from './model';
import { Models } from './models';
import { openRowMenu } from './rowMenu';
import { WorkflowList } from './workflowList';
import { workflowMenu } from './workflowMenu';
import { Workflows } from './workflowSection';

export interface IPanelOptions {
  model: PanelModel;
  workflows: WorkflowList;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The side panel. It listens to the server only while it is seen. */
export class MedFusionPanel extends SidePanel {
  constructor(private _options: IPanelOptions) {
    super();
    const { model, commands, trans } = _options;
    const does = (command: string, args?: ReadonlyPartialJSONObject) =>
      void commands.execute(command, args);
    this.id = 'medfusion-panel';
    this.addClass('jp-MedFusion-panel');
    this.title.icon = medfusionIcon;
    this.title.caption = 'MedFusion';
    const jobs = ReactWidget.create(
      <Jobs
        model={model}
        trans={trans}
        ask={(command, job_id) => does(`medfusion:${command}-job`, { job_id })}
        openMenu={(job, button) =>
          openRowMenu(commands, jobMenu(job), { job_id: job.job_id }, button)
        }
        openNotebook={path => does('docmanager:open', { path })}
      />
    );
    const models = ReactWidget.create(
      <Models
        model={model}
        trans={trans}
        openMenu={({ id, name, version }, button) => {
          const args = { model_id: id, name: `${name} v${version}` };
          openRowMenu(commands, [[CommandIDs.deleteModel]], args, button);
        }}
      />
    );
    const workflows = ReactWidget.create(
      <Workflows
        list={_options.workflows}
        trans={trans}
        open={workflow_id => does(CommandIDs.openWorkflow, { workflow_id })}
        create={() => does(CommandIDs.newWorkflow)}
        ask={(command, workflow_id) =>
          does(`medfusion:${command}-workflow`, { workflow_id })
        }
        openMenu={(workflow, button) => {
          const args = { workflow_id: workflow.id };
          openRowMenu(commands, workflowMenu(workflow), args, button);
        }}
      />
    );
    jobs.title.label = trans.__('Jobs');
    models.title.label = trans.__('Models');
    workflows.title.label = trans.__('Workflows');
    for (const section of [jobs, models, workflows]) {
      section.addClass('jp-MedFusion-section');
      this.addWidget(section);
    }
    this.toolbar.addItem(
      'refresh',
      new ToolbarButton({
        icon: refreshIcon,
        tooltip: trans.__('Refresh jobs and models'),
        onClick: () => does(CommandIDs.refresh)
      })
    );
    document.addEventListener('visibilitychange', this._onVisibility);
  }

  override dispose(): void {
    document.removeEventListener('visibilitychange', this._onVisibility);
    this._options.workflows.dispose();
    this._options.model.dispose();
    super.dispose();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._follow();
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._follow();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this._follow();
  }

  private _follow(): void {
    if (this.isVisible && !document.hidden) {
      this._options.model.start();
    } else {
      this._options.model.stop();
    }
  }

  private _onVisibility = (): void => this._follow();
}
