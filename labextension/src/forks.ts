import type { ICheckpoint, IForkForm, INewFork } from './api';
import type { IFormField } from './formField';
import { number } from './format';
import { fieldsOf, IField, shown } from './workflow/settingsSchema';

/** The field whose text is further settings. */
const OTHERS = 'others';

/** The lines of the form of a fork: where it begins, what it is called, the usual settings, and any others as words. */
export function fieldsOfFork(form: IForkForm): IFormField[] {
  const settings = settingsOf(form);
  const usual = settings.filter(
    field => form.schema.properties?.[field.name]?.usual
  );
  const others = settings.filter(field => !usual.includes(field));
  const newest = [...form.checkpoints].reverse();
  return [
    {
      name: 'checkpoint',
      label: 'Begin from',
      // of a job at work it is another one by the time that the form is filled
      value: '',
      choices: [
        ['', 'the newest checkpoint'],
        ...newest.map((one): [string, string] => [
          String(one.step),
          wordsOf(one)
        ])
      ]
    },
    { name: 'name', label: 'Name', value: '' },
    ...usual.map(field => ({
      name: field.name,
      label: field.range ? `${field.name}: ${field.range}` : field.name,
      value: textOf(form.settings[field.name]),
      help: field.help,
      choices:
        field.kind === 'choice'
          ? field.choices.map((one): [string, string] => [
              String(one),
              shown(one)
            ])
          : undefined
    })),
    {
      name: OTHERS,
      label: 'Other settings',
      value: '',
      placeholder: 'mixup=0.2 precision=bf16',
      help: others.map(field => field.name).join(', ')
    }
  ];
}

/** What a filled form asks for; a text that is no value goes as it is to the server, which says what is allowed. */
export function forkOf(
  form: IForkForm,
  texts: { [name: string]: string }
): INewFork {
  const config: { [name: string]: unknown } = {};
  for (const field of settingsOf(form)) {
    const text = texts[field.name]?.trim();
    if (text !== undefined && text !== textOf(form.settings[field.name])) {
      config[field.name] = valueOf(text, field.kind === 'list');
    }
  }
  for (const word of (texts[OTHERS] ?? '').split(/\s+/).filter(Boolean)) {
    const [name = '', ...rest] = word.split('=');
    const field = settingsOf(form).find(one => one.name === name);
    config[name] = valueOf(rest.join('='), field?.kind === 'list');
  }
  const name = (texts['name'] ?? '').trim();
  const chosen = form.checkpoints.find(
    one => String(one.step) === texts['checkpoint']
  );
  return {
    ...(chosen ? { epoch: chosen.epoch, step: chosen.step } : {}),
    ...(name ? { name } : {}),
    config
  };
}

function settingsOf(form: IForkForm): IField[] {
  return fieldsOf(form.schema);
}

function wordsOf(checkpoint: ICheckpoint): string {
  const metrics = Object.entries(checkpoint.metrics).filter(
    ([name, value]) =>
      name.startsWith('val/') && !/_(low|high)$/.test(name) && value !== null
  );
  const parts = [`epoch ${checkpoint.epoch}`, `step ${checkpoint.step}`];
  parts.push(
    ...metrics.slice(0, 2).map(([name, value]) => `${name} ${number(value)}`)
  );
  return parts.join(' · ') + (checkpoint.is_best ? ' ★' : '');
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) {
    return 'none';
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** `none`, JSON, or a text; where a list is meant, what stands between commas. */
function valueOf(text: string, list = false): unknown {
  if (text.toLowerCase() === 'none') {
    return null;
  }
  try {
    return JSON.parse(text);
  } catch {
    const number = text === '' ? NaN : Number(text);
    if (list) {
      return text.split(',').map(part => valueOf(part.trim()));
    }
    return Number.isNaN(number) ? text : number;
  }
}
