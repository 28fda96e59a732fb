import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IChanges, IJobSettings } from './api';
import { Texts, changesOf, textsOf } from './changes';

/** Ask for changes of a run; null where nothing is to be changed. Throws where a text is no value. */
export async function askForChanges(
  jobId: string,
  settings: IJobSettings,
  trans: TranslationBundle
): Promise<IChanges | null> {
  const form = new ChangeForm(settings, trans);
  const answer = await showDialog({
    title: trans.__('Change %1', jobId),
    body: form,
    focusNodeSelector: 'input',
    buttons: [
      Dialog.cancelButton(),
      Dialog.okButton({ label: trans.__('Apply') })
    ]
  });
  if (!answer.button.accept) {
    return null;
  }
  const changes = changesOf(form.before, form.texts);
  return Object.keys(changes).length > 0 ? changes : null;
}

/** A field for each setting that the run may change, with what it has now. */
class ChangeForm extends ReactWidget {
  constructor(
    private _settings: IJobSettings,
    private _trans: TranslationBundle
  ) {
    super();
    this.before = textsOf(_settings);
    this.texts = { ...this.before };
    this.addClass('jp-MedFusion-change');
  }

  readonly before: Texts;
  readonly texts: Texts;

  protected override render(): React.JSX.Element {
    const trans = this._trans;
    const labels: { [name: string]: string } = {
      lr: trans.__('Learning rate'),
      encoder_lr: trans.__('Learning rate of the encoders'),
      epochs: trans.__('Epochs'),
      patience: trans.__('Patience, in epochs (none: never)'),
      unfreeze: trans.__(
        'Unfreeze of %1 (modules, or all)',
        (this._settings.freeze ?? []).join(', ')
      )
    };
    return (
      <>
        {Object.entries(this.before).map(([name, text]) => (
          <label key={name}>
            <span>{labels[name]}</span>
            <input
              type="text"
              name={name}
              className="jp-mod-styled"
              defaultValue={text}
              onChange={event => {
                this.texts[name] = event.target.value;
              }}
            />
          </label>
        ))}
        <p>{trans.__('Changes hold from the next step on.')}</p>
      </>
    );
  }
}
