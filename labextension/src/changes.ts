import type { IChanges, IJobSettings } from './api';

/** The text of each field by the name of its setting. */
export type Texts = { [name: string]: string };

/** What the fields of the form begin with: those settings that this run may change. */
export function textsOf(settings: IJobSettings): Texts {
  const texts: Texts = {
    lr: asText(settings.lr),
    epochs: asText(settings.epochs),
    patience: asText(settings.patience)
  };
  if (settings.encoder_lr) {
    texts['encoder_lr'] = asText(settings.encoder_lr);
  }
  if (settings.freeze?.length) {
    texts['unfreeze'] = (settings.unfreeze ?? []).join(', ');
  }
  return texts;
}

/** The settings whose text was changed; a text that is no number goes as it is to the server, which says what is allowed. */
export function changesOf(before: Texts, texts: Texts): IChanges {
  const changes: { [name: string]: unknown } = {};
  for (const [name, text] of Object.entries(texts)) {
    const trimmed = text.trim();
    if (trimmed === before[name]) {
      continue;
    }
    if (name === 'unfreeze') {
      changes[name] = trimmed === 'all' ? 'all' : parts(trimmed);
    } else if (name === 'patience' && trimmed.toLowerCase() === 'none') {
      changes[name] = null;
    } else {
      const number = trimmed === '' ? NaN : Number(trimmed);
      changes[name] = Number.isNaN(number) ? trimmed : number;
    }
  }
  return changes;
}

function parts(text: string): string[] {
  return text
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '');
}

function asText(value: number | null | undefined): string {
  return value === null || value === undefined ? 'none' : String(value);
}
