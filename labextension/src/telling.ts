import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

/** Say what was done, for a few seconds in the corner. */
export function tellDone(words: string): void {
  Notification.success(words, { autoClose: 5000 });
}

/** Say why what a person asked for was not done. In a dialog: JupyterLab's notifications cut long words, or only ring a bell. */
export async function tellRefusal(
  error: unknown,
  trans: TranslationBundle
): Promise<void> {
  await showDialog({
    title: trans.__('That was not done'),
    body: words(error instanceof Error ? error.message : String(error)),
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}

/** Do what a person asked for; where it is refused, say so. */
export async function asAsked(
  work: () => Promise<unknown>,
  trans: TranslationBundle
): Promise<void> {
  try {
    await work();
  } catch (error) {
    await tellRefusal(error, trans);
  }
}

/** Ask before something that cannot be taken back. */
export async function confirmed(
  title: string,
  body: string,
  accept: string
): Promise<boolean> {
  const answer = await showDialog({
    title,
    body: words(body),
    defaultButton: 0,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: accept })]
  });
  return answer.button.accept;
}

function words(text: string): Widget {
  const node = document.createElement('div');
  node.className = 'jp-MedFusion-said';
  node.textContent = text;
  return new Widget({ node });
}
