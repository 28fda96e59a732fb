/** How numbers, lengths of time and moments are written. Free of Jupyter, so that it is tested on its own. */

/** Three digits after the point; a dash for none. */
export function number(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : value.toFixed(3);
}

/** A length of time in seconds, in at most two words: `35 s`, `3 min`, `2 h 5 min`, `4 d 2 h`. */
export function span(seconds: number): string {
  if (seconds < 99.5) {
    return `${Math.max(0, Math.round(seconds))} s`;
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) {
    return `${minutes} min`;
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    return `${hours} h ${minutes % 60} min`;
  }
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago a moment (ISO 8601) was: `just now`, `12 min ago`, `2 h ago`, `3 d ago`. */
export function ago(moment: string | null, now: number): string {
  if (moment === null) {
    return '';
  }
  const seconds = (now - Date.parse(moment)) / 1000;
  if (seconds < 60) {
    return 'just now';
  }
  if (seconds < 3600) {
    return `${Math.floor(seconds / 60)} min ago`;
  }
  if (seconds < 86400) {
    return `${Math.floor(seconds / 3600)} h ago`;
  }
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** A moment (ISO 8601) to come, in the browser's zone: `14:05`, with the day where that is another one. */
export function timeOfDay(moment: string, now: number): string {
  const then = new Date(moment);
  const time = then.toLocaleTimeString([], {
    hour: '2-digit',
    minute: '2-digit'
  });
  return then.toDateString() === new Date(now).toDateString()
    ? time
    : `${then.toLocaleDateString()} ${time}`;
}

/** The words of metrics, as in `settings/watched.py`; those that a model is shown by, the first that it has first. */
const METRICS: { [name: string]: string } = {
  auroc: 'AUROC',
  accuracy: 'accuracy',
  qwk: 'quadratic kappa',
  mae: 'MAE',
  rmse: 'RMSE',
  r2: 'R²',
  spearman: 'Spearman',
  c_index: 'C index',
  uno_c: "Uno's C",
  brier: 'Brier score'
};

/** The metric that a name is of: `auroc`, or `icu_auroc` where it is that of one of several targets. */
function metricOf(name: string): string | undefined {
  return name in METRICS
    ? name
    : Object.keys(METRICS).find(known => name.endsWith(`_${known}`));
}

/** A metric's name for people: `AUROC` for `val/auroc`, `icu AUROC` for `val/icu_auroc`, and `train loss` for `train/loss`. */
export function metricName(name: string): string {
  const cut = name.lastIndexOf('/');
  const part = name.slice(0, Math.max(0, cut));
  const metric = name.slice(cut + 1);
  const known = metricOf(metric);
  const words =
    known === undefined
      ? metric
      : `${metric.slice(0, -known.length - 1)} ${METRICS[known]}`.trim();
  return part === 'val' || part === '' ? words : `${part} ${words}`;
}

/** The metric of validation that a model is shown by: the first that its target has, else the loss. */
export function headline(metrics: { [name: string]: number | null }): string {
  const known =
    Object.keys(METRICS).find(name => `val/${name}` in metrics) ??
    Object.keys(metrics)
      .filter(name => name.startsWith('val/'))
      .map(name => name.slice(4))
      .find(name => metricOf(name) !== undefined);
  return `val/${known ?? 'loss'}`;
}

/** A name within another: `fold 1` of `icu fold 1` in `icu`. */
export function withoutStart(name: string, start: string): string {
  return name.startsWith(`${start} `) ? name.slice(start.length + 1) : name;
}

/** `0.874 [0.81, 0.92]`, or the value alone where no interval is known. */
export function withInterval(
  metrics: { [name: string]: number | null },
  name: string
): string {
  const low = metrics[`${name}_low`];
  const high = metrics[`${name}_high`];
  const value = number(metrics[name]);
  return typeof low === 'number' && typeof high === 'number'
    ? `${value} [${low.toFixed(2)}, ${high.toFixed(2)}]`
    : value;
}

/** The points of an SVG polyline through `values`, which fills a box of that size. */
export function polyline(
  values: readonly number[],
  width: number,
  height: number
): string {
  const low = Math.min(...values);
  const range = Math.max(...values) - low || 1;
  const step = width / Math.max(1, values.length - 1);
  return values
    .map(
      (value, k) =>
        `${(k * step).toFixed(1)},${(height - 1 - ((value - low) / range) * (height - 2)).toFixed(1)}`
    )
    .join(' ');
}
