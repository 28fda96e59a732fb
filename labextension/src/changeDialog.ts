import { TranslationBundle } from '@jupyterlab/translation';
import { IChanges, IJobSettings } from './api';
import { changesOf, textsOf } from './changes';
import { askUntilTaken } from './formDialog';

/** Ask for changes of a run and make them; while they are refused, the form stays with the reason. */
export async function askForChanges(
  jobId: string,
  settings: IJobSettings,
  trans: TranslationBundle,
  change: (changes: IChanges) => Promise<void>
): Promise<void> {
  const before = textsOf(settings);
  const labels: { [name: string]: string } = {
    lr: trans.__('Learning rate'),
    encoder_lr: trans.__('Learning rate of the encoders'),
    epochs: trans.__('Epochs'),
    patience: trans.__('Patience, in epochs (none: never)'),
    unfreeze: trans.__(
      'Unfreeze of %1 (modules, or all)',
      (settings.freeze ?? []).join(', ')
    )
  };
  await askUntilTaken({
    title: trans.__('Change %1', jobId),
    accept: trans.__('Apply'),
    note: trans.__('Changes hold from the next step on.'),
    fields: Object.entries(before).map(([name, value]) => ({
      name,
      label: labels[name] ?? name,
      value
    })),
    take: async texts => {
      const changes = changesOf(before, texts);
      if (Object.keys(changes).length > 0) {
        await change(changes);
      }
    }
  });
}
