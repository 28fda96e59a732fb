import { LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

interface IRowButtonProps {
  /** What it does, in a word, for tests and styles. */
  command: string;
  icon: LabIcon;
  label: string;
  disabled?: boolean;
  opensMenu?: boolean;
  onClick: (button: HTMLElement) => void;
}

/** A button with an icon in a row of the panel. */
export function RowButton(props: IRowButtonProps): React.JSX.Element {
  const { command, icon, label, disabled, opensMenu, onClick } = props;
  return (
    <button
      className="jp-MedFusion-button"
      data-command={command}
      title={label}
      aria-label={label}
      aria-haspopup={opensMenu ? 'menu' : undefined}
      disabled={disabled}
      onClick={event => onClick(event.currentTarget)}
    >
      <icon.react tag="span" width="16px" height="16px" />
    </button>
  );
}

/** How far something is, 0 to 1, as a thin bar. */
export function ProgressBar(props: {
  value: number;
  label: string;
}): React.JSX.Element {
  const percent = 100 * props.value;
  return (
    <div
      className="jp-MedFusion-track"
      role="progressbar"
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(percent)}
    >
      <div className="jp-MedFusion-fill" style={{ width: `${percent}%` }} />
    </div>
  );
}

/** A status as a sign, whose colour is never the only one. */
export function StatusSign(props: {
  status: string;
  sign: string;
}): React.JSX.Element {
  const { status, sign } = props;
  return (
    <span
      className="jp-MedFusion-sign"
      data-status={status}
      role="img"
      aria-label={status}
      title={status}
    >
      {sign}
    </span>
  );
}
