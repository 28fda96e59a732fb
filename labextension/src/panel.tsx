import {
  ReactWidget,
  refreshIcon,
  SidePanel,
  ToolbarButton
} from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { IJob } from './api';
import { medfusionIcon } from './icon';
import { Jobs } from './jobs';
import { PanelModel } from './model';
import { Models } from './models';
import { WorkflowList } from './workflowList';
import { Workflows } from './workflowSection';

export interface IPanelOptions {
  model: PanelModel;
  workflows: WorkflowList;
  openWorkflow: (id: number) => void;
  newWorkflow: () => void;
  trans: TranslationBundle;
  ask: (command: string, jobId: string) => void;
  openMenu: (job: IJob, button: HTMLElement) => void;
  openNotebook: (path: string) => void;
  refresh: () => void;
}

/** The side panel. It listens to the server only while it is seen. */
export class MedFusionPanel extends SidePanel {
  constructor(private _options: IPanelOptions) {
    super();
    const { model, trans, ask, openMenu, openNotebook } = _options;
    this.id = 'medfusion-panel';
    this.addClass('jp-MedFusion-panel');
    this.title.icon = medfusionIcon;
    this.title.caption = 'MedFusion';
    const jobs = ReactWidget.create(
      <Jobs
        model={model}
        trans={trans}
        ask={ask}
        openMenu={openMenu}
        openNotebook={openNotebook}
      />
    );
    const models = ReactWidget.create(<Models model={model} trans={trans} />);
    const workflows = ReactWidget.create(
      <Workflows
        list={_options.workflows}
        trans={trans}
        open={_options.openWorkflow}
        create={_options.newWorkflow}
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
        onClick: _options.refresh
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
