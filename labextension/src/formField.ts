/** One line of a form: a text, or one of some choices. */
export interface IFormField {
  name: string;
  label: string;
  value: string;
  /** What there is to choose from: each value with its words. */
  choices?: readonly [string, string][];
  placeholder?: string;
  /** What it means, for who points at it. */
  help?: string;
}
