import { Contents } from '@jupyterlab/services';

const NAME = '01-quickstart.ipynb';
const FOLDERS = ['', 'notebooks'];

/** The path of the quickstart notebook, where it is there. Folders are listed: a guess that misses is an error in the console. */
export async function findQuickstart(
  contents: Contents.IManager
): Promise<string | null> {
  for (const folder of FOLDERS) {
    const listing = await contents.get(folder);
    const entries: Contents.IModel[] = listing.content;
    if (entries.some(entry => entry.name === NAME)) {
      return folder ? `${folder}/${NAME}` : NAME;
    }
    if (
      !entries.some(
        entry => entry.name === 'notebooks' && entry.type === 'directory'
      )
    ) {
      return null;
    }
  }
  return null;
}
