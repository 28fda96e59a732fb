/** How numbers, durations and metrics are written. Pure; the words around them are the views' (translated) business. */

import type { IJob, IModel } from './records';

export const NOTHING = '–';

/** 0.8741 as `0.874`; very large or small ones with three significant digits. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return NOTHING;
  }
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.0005 || size >= 100_000)) {
    return value.toExponential(2);
  }
  return size >= 100 ? value.toFixed(1) : value.toFixed(3);
}

/** `[0.81, 0.92]`; empty where an end is missing. */
export function interval(
  low: number | null | undefined,
  high: number | null | undefined
): string {
  const ends = [low, high];
  return ends.every(end => typeof end === 'number' && Number.isFinite(end))
    ? `[${low!.toFixed(2)}, ${high!.toFixed(2)}]`
    : '';
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Seconds in the unit that fits, without the smaller ones: `40 s`, `3 min`, `2 h`, `5 d`. */
export function roughly(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < MINUTE) {
    return `${s} s`;
  }
  if (s < HOUR) {
    return `${Math.round(s / MINUTE)} min`;
  }
  return s < DAY ? `${Math.round(s / HOUR)} h` : `${Math.round(s / DAY)} d`;
}

/** Seconds in two units: `9.8 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(seconds: number | null): string {
  if (seconds === null || !Number.isFinite(seconds)) {
    return NOTHING;
  }
  if (seconds < 10) {
    return `${Math.max(0, seconds).toFixed(1)} s`;
  }
  const s = Math.round(seconds);
  if (s < MINUTE) {
    return `${s} s`;
  }
  const two = (big: number, bigName: string, small: number, name: string) => {
    const rest = Math.floor((s % big) / small);
    const head = `${Math.floor(s / big)} ${bigName}`;
    return rest ? `${head} ${rest} ${name}` : head;
  };
  if (s < HOUR) {
    return two(MINUTE, 'min', 1, 's');
  }
  return s < DAY ? two(HOUR, 'h', MINUTE, 'min') : two(DAY, 'd', HOUR, 'h');
}

/** How long ago a moment was; null for less than a minute, unreadable moments and the future. */
export function age(moment: string | null, now: number): string | null {
  const at = moment === null ? NaN : Date.parse(moment);
  const seconds = (now - at) / 1000;
  // rounded down: a thing of 119 s ago is one minute old
  return seconds >= MINUTE
    ? roughly(
        seconds -
          (seconds % (seconds < HOUR ? MINUTE : seconds < DAY ? HOUR : DAY))
      )
    : null;
}

const ACRONYMS = new Set(['auroc', 'auprc', 'auc', 'ece', 'mae', 'rmse']);

/** `val/auroc` as `val AUROC`. */
export function metricLabel(name: string): string {
  return name
    .split(/[/_]/)
    .map(part => (ACRONYMS.has(part) ? part.toUpperCase() : part))
    .join(' ');
}

/** The watched metric: now while it runs, at its best afterwards. */
export function watchedValue(job: IJob): number | null {
  const now = job.current_metrics[job.watched_metric] ?? null;
  const over = !['pending', 'initializing', 'running', 'paused'].includes(
    job.status
  );
  return over ? (job.best_value ?? now) : (now ?? job.best_value);
}

export interface IHeadline {
  label: string;
  value: number;
  low: number | null;
  high: number | null;
}

/** The one metric by which a model is known in a list; null where it has none. */
export function headline(model: IModel): IHeadline | null {
  for (const name of ['val/auroc', 'val/accuracy', 'val/loss']) {
    const found = model.metrics[name];
    const [value, low, high] = Array.isArray(found)
      ? found
      : [found, model.metrics[`${name}_low`], model.metrics[`${name}_high`]];
    if (typeof value === 'number') {
      return {
        label: metricLabel(name),
        value,
        low: typeof low === 'number' ? low : null,
        high: typeof high === 'number' ? high : null
      };
    }
  }
  return model.accuracy === null
    ? null
    : { label: 'accuracy', value: model.accuracy, low: null, high: null };
}

/** The code that goes on with a job, for a notebook. */
export function resumeCode(jobId: string): string {
  return `import medfusion as mf\nmf.resume(${JSON.stringify(jobId)})`;
}

/** A message in one line. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
