import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import * as React from 'react';

import { Texts } from './changes';
import { RefusedError } from './refused';

/** One line of a form: a text, or one of some choices. */
export interface IFormField {
  name: string;
  label: string;
  value: string;
  /** What there is to choose from: each value with its words. */
  choices?: readonly [string, string][];
  placeholder?: string;
}

export interface IForm {
  title: string;
  /** Label of the button that accepts. */
  accept: string;
  note: string;
  fields: readonly IFormField[];
  /** Do what the form asks for; what it throws as RefusedError is shown in the form, which stays. */
  take: (texts: Texts) => Promise<void>;
}

/** Ask in a dialog until what is written is taken, or the dialog is dismissed. */
export async function askUntilTaken(form: IForm): Promise<void> {
  let texts = Object.fromEntries(
    form.fields.map(field => [field.name, field.value])
  );
  let refused = '';
  for (;;) {
    const body = new FormBody(form, texts, refused);
    const answer = await showDialog({
      title: form.title,
      body,
      focusNodeSelector: 'input',
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: form.accept })]
    });
    if (!answer.button.accept) {
      return;
    }
    texts = body.texts;
    try {
      await form.take(texts);
      return;
    } catch (error) {
      if (!(error instanceof RefusedError)) {
        throw error;
      }
      refused = error.message;
    }
  }
}

class FormBody extends ReactWidget {
  constructor(
    private _form: IForm,
    texts: Texts,
    private _refused: string
  ) {
    super();
    this.texts = { ...texts };
    this.addClass('jp-MedFusion-form');
  }

  readonly texts: Texts;

  protected override render(): React.JSX.Element {
    return (
      <>
        {this._refused && <p role="alert">{this._refused}</p>}
        {this._form.fields.map(field => (
          <label key={field.name}>
            <span>{field.label}</span>
            {this._input(field)}
          </label>
        ))}
        <p>{this._form.note}</p>
      </>
    );
  }

  private _input(field: IFormField): React.JSX.Element {
    const common = {
      name: field.name,
      defaultValue: this.texts[field.name],
      onChange: (
        event: React.ChangeEvent<HTMLInputElement | HTMLSelectElement>
      ) => {
        this.texts[field.name] = event.target.value;
      }
    };
    return field.choices ? (
      <select {...common}>
        {field.choices.map(([value, words]) => (
          <option key={value} value={value}>
            {words}
          </option>
        ))}
      </select>
    ) : (
      <input
        {...common}
        type="text"
        className="jp-mod-styled"
        placeholder={field.placeholder}
      />
    );
  }
}
