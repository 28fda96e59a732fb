import { TranslationBundle } from '@jupyterlab/translation';

import { IForkForm, INewFork } from './api';
import { askUntilTaken } from './formDialog';
import { fieldsOfFork, forkOf } from './forks';

/** Ask for a fork and make it; while it is refused, the form stays with the reason. */
export async function askForFork(
  jobId: string,
  form: IForkForm,
  trans: TranslationBundle,
  make: (fork: INewFork) => Promise<void>
): Promise<void> {
  await askUntilTaken({
    title: trans.__('Fork %1', jobId),
    accept: trans.__('Fork'),
    note: trans.__(
      'A new job goes on from there, in a kernel of its own when its turn has come. Epochs are counted on.'
    ),
    fields: fieldsOfFork(form),
    take: texts => make(forkOf(form, texts))
  });
}
