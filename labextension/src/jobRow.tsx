import { TranslationBundle } from '@jupyterlab/translation';
import {
  ellipsesIcon,
  LabIcon,
  pauseIcon,
  runIcon,
  stopIcon
} from '@jupyterlab/ui-components';
import * as React from 'react';

import { ACTIVE, Command, IJob, Status } from './api';
import { ago, metricName, number, polyline, span, timeOfDay } from './format';
import { jobMenu } from './jobMenu';
import { ProgressBar, RowButton, StatusSign } from './rowParts';

const SIGNS: { [status in Status]: string } = {
  pending: '○',
  initializing: '○',
  running: '●',
  paused: '◐',
  completed: '✓',
  failed: '✕',
  stopped: '■',
  interrupted: '◌'
};
const SPARK_WIDTH = 64;
const SPARK_HEIGHT = 18;

interface IJobRowProps {
  job: IJob;
  /** What it is called here: of a fold without what its cross-validation is called. */
  name: string;
  /** The time that `2 h ago` is counted from, in ms since 1970. */
  now: number;
  asked: Command | undefined;
  spark: readonly number[];
  trans: TranslationBundle;
  ask: (command: string, jobId: string) => void;
  /** Open the menu of what else can be asked of the job, below the button that was clicked. */
  openMenu: (job: IJob, button: HTMLElement) => void;
  /** Of a cross-validation: whether its folds, the rows in `children`, are shown. */
  foldsShown: boolean;
  toggleFolds: () => void;
  children?: React.ReactNode;
}

/** One job: its state in two lines, and what else there is to know of it when its name is clicked. */
export function JobRow(props: IJobRowProps): React.JSX.Element {
  const { job, asked, trans } = props;
  const [open, setOpen] = React.useState(false);
  const metric = ACTIVE.includes(job.status)
    ? (job.current_metrics[job.watched_metric] ?? null)
    : job.best_value;
  const live = ['initializing', 'running', 'paused'].includes(job.status);
  return (
    <li
      className="jp-MedFusion-row"
      data-job-id={job.job_id}
      data-status={job.status}
    >
      <div className="jp-MedFusion-line">
        <StatusSign status={job.status} sign={SIGNS[job.status]} />
        <button
          className="jp-MedFusion-name"
          aria-expanded={open}
          title={job.name}
          onClick={() => setOpen(!open)}
        >
          {props.name}
        </button>
        <Buttons {...props} />
        {job.num_folds !== null && (
          <button
            className="jp-MedFusion-button jp-MedFusion-count"
            aria-expanded={props.foldsShown}
            aria-label={trans.__('Folds of %1', job.name)}
            title={trans.__('%1 folds', job.num_folds)}
            onClick={props.toggleFolds}
          >
            {props.foldsShown ? '▾' : '▸'} {job.num_folds}
          </button>
        )}
      </div>
      {metric !== null && (
        <div className="jp-MedFusion-line jp-MedFusion-indented">
          <span className="jp-MedFusion-words">
            {metricName(job.watched_metric)} {number(metric)}
          </span>
          <Spark values={props.spark} label={metricName(job.watched_metric)} />
        </div>
      )}
      <div className="jp-MedFusion-line jp-MedFusion-indented">
        <span
          className="jp-MedFusion-words jp-MedFusion-state"
          title={job.error ?? undefined}
        >
          {asked ? wordsOfAsked(asked, trans) : words(job, props.now, trans)}
        </span>
        <span className="jp-MedFusion-quiet">{job.job_id}</span>
      </div>
      {live && (
        <ProgressBar
          value={job.progress}
          label={trans.__('Progress of %1', job.name)}
        />
      )}
      {open && <Facts {...props} />}
      {props.foldsShown && (
        <ul
          className="jp-MedFusion-list jp-MedFusion-folds"
          role="list"
          aria-label={trans.__('Folds of %1', job.name)}
        >
          {props.children}
        </ul>
      )}
    </li>
  );
}

function wordsOfAsked(asked: Command, trans: TranslationBundle): string {
  return {
    pause: trans.__('pausing…'),
    resume: trans.__('resuming…'),
    stop: trans.__('stopping…'),
    checkpoint: trans.__('saving…')
  }[asked];
}

/** The state of a job in one line. */
function words(job: IJob, now: number, trans: TranslationBundle): string {
  // that it runs its sign says, and the line is short
  const parts: string[] = job.status === 'running' ? [] : [job.status];
  switch (job.status) {
    case 'initializing':
    case 'running':
    case 'paused':
      parts.push(place(job, trans));
      if (job.status === 'running' && job.seconds_left !== null) {
        parts.push(trans.__('%1 left', span(job.seconds_left)));
      }
      break;
    case 'failed':
      parts.push(job.error ?? '');
      break;
    case 'interrupted':
      if (job.num_folds === null) {
        parts[0] = trans.__('interrupted at epoch %1', job.current_epoch);
      } else {
        parts.push(place(job, trans));
      }
      break;
    case 'completed':
    case 'stopped':
      parts.push(ago(job.completed_at, now));
      break;
    case 'pending':
      return wordsOfTurn(job, now, trans).join(' · ');
  }
  return parts.filter(part => part !== '').join(' · ');
}

function wordsOfTurn(
  job: IJob,
  now: number,
  trans: TranslationBundle
): string[] {
  if (job.launched_at !== null) {
    return [trans.__('its kernel starts')];
  }
  const parts = [trans.__('waits for its turn')];
  if (job.not_before !== null && Date.parse(job.not_before) > now) {
    parts.push(trans.__('not before %1', timeOfDay(job.not_before, now)));
  }
  if (job.priority !== 0) {
    parts.push(trans.__('priority %1', job.priority));
  }
  return parts;
}

/** How far a job is: its epoch, or of a cross-validation its fold. */
function place(job: IJob, trans: TranslationBundle): string {
  if (job.num_folds === null) {
    return trans.__('epoch %1/%2', job.current_epoch, job.total_epochs);
  }
  const done = job.folds_done ?? 0;
  return ACTIVE.includes(job.status) && done < job.num_folds
    ? trans.__('fold %1 of %2', done + 1, job.num_folds)
    : trans.__('%1 of %2 folds done', done, job.num_folds);
}

function Buttons(props: IJobRowProps): React.JSX.Element {
  const { job, asked, trans, ask, openMenu } = props;
  const offered: [Command, LabIcon, string][] = [
    ['pause', pauseIcon, trans.__('Pause %1', job.name)],
    [
      'resume',
      runIcon,
      job.status === 'paused'
        ? trans.__('Resume %1', job.name)
        : trans.__('Resume %1 in a kernel of its own', job.name)
    ],
    ['stop', stopIcon, trans.__('Stop %1', job.name)]
  ];
  return (
    <>
      {offered
        .filter(([command]) => job.commands.includes(command))
        .map(([command, icon, label]) => (
          <RowButton
            key={command}
            command={command}
            icon={icon}
            label={label}
            disabled={asked === 'stop' || (asked && command !== 'stop')}
            onClick={() => ask(command, job.job_id)}
          />
        ))}
      {jobMenu(job).some(group => group.length > 0) && (
        <RowButton
          command="menu"
          icon={ellipsesIcon}
          label={trans.__('More for %1', job.name)}
          opensMenu
          onClick={button => openMenu(job, button)}
        />
      )}
    </>
  );
}

function Spark(props: {
  values: readonly number[];
  label: string;
}): React.JSX.Element | null {
  if (props.values.length < 2) {
    return null;
  }
  return (
    <svg
      className="jp-MedFusion-spark"
      width={SPARK_WIDTH}
      height={SPARK_HEIGHT}
      role="img"
      aria-label={props.label}
    >
      <polyline
        points={polyline(props.values, SPARK_WIDTH, SPARK_HEIGHT)}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.5"
      />
    </svg>
  );
}

function Facts({ job, now, trans }: IJobRowProps): React.JSX.Element {
  const encoders = [
    job.model_config['image_encoder'],
    job.model_config['tabular_encoder']
  ];
  const facts: [string, string | null][] = [
    [trans.__('model'), encoders.filter(Boolean).join(' + ')],
    [trans.__('fusion'), job.model_config['fusion'] ?? null],
    [
      trans.__('epochs'),
      trans.__('%1 of %2', job.current_epoch, job.total_epochs)
    ],
    [
      trans.__('best'),
      job.best_value === null
        ? null
        : `${metricName(job.watched_metric)} ${number(job.best_value)}` +
          (job.best_epoch === null ? '' : ` at epoch ${job.best_epoch}`)
    ],
    [trans.__('folds'), job.num_folds === null ? null : place(job, trans)],
    [trans.__('forked from'), job.fold === null ? job.parent_job_id : null],
    [trans.__('started'), ago(job.started_at, now)],
    [trans.__('took'), job.duration === null ? null : span(job.duration)],
    [trans.__('device'), job.device],
    [trans.__('host'), job.host],
    [trans.__('cohort'), job.dataset_fingerprint],
    [trans.__('by'), job.created_by],
    [trans.__('error'), job.error]
  ];
  return (
    <dl className="jp-MedFusion-facts">
      {facts
        .filter(([, value]) => value)
        .map(([name, value]) => (
          <React.Fragment key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </React.Fragment>
        ))}
    </dl>
  );
}
