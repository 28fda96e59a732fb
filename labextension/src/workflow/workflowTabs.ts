import { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

import { medfusionIcon } from '../icon';
import { ServerTransport } from './serverTransport';
import { WorkflowApi } from './workflowApi';
import { WorkflowView } from './workflowView';

/** The tabs of the main area in which stored workflows are edited, one a workflow. */
export class WorkflowTabs {
  constructor(
    private _shell: JupyterFrontEnd.IShell,
    private _api: WorkflowApi,
    private _trans: TranslationBundle
  ) {}

  /** Show a stored workflow in its tab. Throws RefusedError where there is none of that id. */
  async open(id: number): Promise<void> {
    const there = this._find(id);
    if (there) {
      this._shell.activateById(there.id);
      return;
    }
    const { name } = await this._api.get(id);
    const transport = new ServerTransport(this._api, id);
    const content = new WorkflowView(transport, this._trans);
    const widget = new MainAreaWidget({ content });
    widget.id = `medfusion-workflow-${id}`;
    widget.title.label = name;
    widget.title.icon = medfusionIcon;
    widget.title.closable = true;
    // the editor has its own
    widget.toolbar.hide();
    this._ids.set(widget, id);
    void content.model.then(model =>
      model.subscribe(() => {
        widget.title.label = model.state.unsaved ? `${name} *` : name;
      })
    );
    await this._tracker.add(widget);
    this._shell.add(widget, 'main', { type: 'MedFusion workflow' });
    this._shell.activateById(widget.id);
  }

  /** Close the tab of a workflow that is no longer there. */
  close(id: number): void {
    this._find(id)?.dispose();
  }

  /** Open again after a reload what was open; command: opens the workflow `workflow_id`. */
  restore(restorer: ILayoutRestorer, command: string): void {
    void restorer.restore(this._tracker, {
      command,
      args: widget => ({ workflow_id: this._ids.get(widget) ?? 0 }),
      name: widget => widget.id
    });
  }

  private _find(id: number): MainAreaWidget<WorkflowView> | undefined {
    return this._tracker.find(widget => this._ids.get(widget) === id);
  }

  private _ids = new WeakMap<MainAreaWidget<WorkflowView>, number>();
  private _tracker = new WidgetTracker<MainAreaWidget<WorkflowView>>({
    namespace: 'medfusion-workflows'
  });
}
