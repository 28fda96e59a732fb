import * as React from 'react';

import { EditorModel } from './editorModel';
import { IEditorState } from './editorState';

/** What the words of the editor go through: a translation bundle of JupyterLab, or `plainWords`. */
export interface IWords {
  __(words: string, ...values: unknown[]): string;
}

/** The words as they are written, with their values: `%1` is the first. */
export const plainWords: IWords = {
  __: (words, ...values) =>
    words.replace(/%(\d)/g, (_, place) => String(values[Number(place) - 1]))
};

export const ModelContext = React.createContext<EditorModel | null>(null);
export const WordsContext = React.createContext<IWords>(plainWords);

/** The model of the editor that a component is part of. */
export function useModel(): EditorModel {
  const model = React.useContext(ModelContext);
  if (model === null) {
    throw new Error('This component is part of a workflow editor.');
  }
  return model;
}

/** A part of the editor's state; the component is drawn anew when that part is another. */
export function useEditor<Part>(select: (state: IEditorState) => Part): Part {
  const model = useModel();
  return React.useSyncExternalStore(model.subscribe, () => select(model.state));
}

export function useWords(): IWords {
  return React.useContext(WordsContext);
}

/** The time (ms since 1970) that `2 min ago` is counted from; it goes on twice a minute. */
export function useNow(): number {
  const [now, setNow] = React.useState(() => Date.now());
  React.useEffect(() => {
    const clock = window.setInterval(() => setNow(Date.now()), 30000);
    return () => window.clearInterval(clock);
  }, []);
  return now;
}
