"""The words of the monitor: HTML made from a job's row, every text of it escaped."""

from __future__ import annotations

import datetime as dt
import html
import math
import os
import socket
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.settings.watched import METRICS, parted, recorded, words_of
from medfusion_jupyter.store import ACTIVE, JobStatus
from medfusion_jupyter.widgets import lost_kernel

if TYPE_CHECKING:
    from medfusion_jupyter.store import Job
    from medfusion_jupyter.store.events import Event

SIGNS = {
    JobStatus.PENDING: "○",
    JobStatus.INITIALIZING: "○",
    JobStatus.RUNNING: "●",
    JobStatus.PAUSED: "◐",
    JobStatus.COMPLETED: "✓",
    JobStatus.STOPPED: "■",
    JobStatus.FAILED: "✕",
    JobStatus.INTERRUPTED: "◌",
}
TABLE_ROWS = 5
OLD_NEWS_SECONDS = 5

STYLE = """<style>
.mf-monitor { font-size: var(--jp-ui-font-size1, 13px); color: var(--jp-ui-font-color1, inherit); max-width: 960px; }
.mf-monitor .widget-html-content { line-height: 1.5; }
.mf-monitor .mf-quiet { color: var(--jp-ui-font-color2, #666); }
.mf-monitor .mf-name { font-weight: 600; font-size: 1.1em; margin-right: 8px; }
.mf-monitor .mf-state { margin-left: 12px; }
.mf-monitor .mf-running { color: var(--jp-brand-color1, #1976d2); }
.mf-monitor .mf-completed { color: var(--jp-success-color1, #2e7d32); }
.mf-monitor .mf-failed { color: var(--jp-error-color1, #c62828); }
.mf-monitor .mf-track { height: 8px; background: var(--jp-layout-color3, #ddd); border-radius: 4px; overflow: hidden; }
.mf-monitor .mf-fill { height: 100%; background: var(--jp-brand-color1, #1976d2); }
.mf-monitor .mf-facts span { display: inline-block; margin-right: 18px; font-variant-numeric: tabular-nums; }
.mf-monitor table { border-collapse: collapse; }
.mf-monitor th, .mf-monitor td { text-align: right; padding: 1px 16px 1px 0; white-space: nowrap; }
.mf-monitor td { font-variant-numeric: tabular-nums; }
.mf-monitor .mf-epochs .widget-html-content { overflow-x: auto; }
.mf-monitor th { font-weight: 500; color: var(--jp-ui-font-color2, #666); }
.mf-monitor th.mf-target { max-width: 0; overflow: hidden; text-overflow: ellipsis; color: var(--jp-ui-font-color1, inherit); }
.mf-monitor tr.mf-best td { font-weight: 600; }
.mf-monitor .mf-error { border-left: 3px solid var(--jp-error-color1, #c62828); padding: 4px 10px; white-space: pre-wrap; }
.mf-monitor .mf-note { border-left: 3px solid var(--jp-warn-color1, #ef6c00); padding: 4px 10px; }
.mf-monitor .mf-key { display: inline-block; width: 18px; border-top: 3px solid; vertical-align: middle; margin: 0 4px 0 12px; }
.mf-monitor .bqplot text { fill: var(--jp-ui-font-color1, currentColor) !important; }
.mf-monitor .bqplot .axis path, .mf-monitor .bqplot .axis line { stroke: var(--jp-border-color1, #aaa) !important; }
</style>"""


def title(job: Job) -> str:
    """Name, id, status and where it runs."""
    where = f" on {html.escape(job.device)}" if job.device and job.status in ACTIVE else ""
    return (
        f"{STYLE}{lost_kernel.STYLE}"
        f"<span class='mf-name'>{html.escape(job.name)}</span><span class='mf-quiet'>{job.job_id}</span>"
        f"<span class='mf-state mf-{job.status}'>{SIGNS[job.status]} {job.status}{where}</span>"
    )


def progress(job: Job) -> str:
    """The bar, and the numbers below it."""
    share = round(100 * job.progress, 1)
    facts = [f"epoch {job.current_epoch}/{job.total_epochs}"]
    if job.total_steps:
        facts.append(f"step {job.current_step:,}/{job.total_steps:,}")
    if job.samples_per_second is not None and job.status in ACTIVE:
        facts.append(f"{job.samples_per_second:,.0f} samples/s")
    if job.memory_bytes is not None and job.status in ACTIVE:
        facts.append(f"{job.memory_bytes / 1e9:.1f} GB")
    if job.status == JobStatus.RUNNING and job.seconds_left is not None:
        facts.append(f"{span(job.seconds_left)} left")
    if job.duration is not None:
        facts.append(f"took {span(job.duration)}")
    shown = "".join(f"<span>{fact}</span>" for fact in facts)
    return (
        f"<div class='mf-track' role='progressbar' aria-label='progress of {job.job_id}' aria-valuenow='{share}' "
        f"aria-valuemin='0' aria-valuemax='100'><div class='mf-fill' style='width:{share}%'></div></div>"
        f"<div class='mf-facts'>{shown}</div>"
    )


def origin(job: Job) -> str:
    """Of a fork where it comes from, and which settings it changed."""
    if job.fork is None:
        return ""
    changes = ", ".join(f"{name} {change['from']} → {change['to']}" for name, change in job.fork["changes"].items())
    where = f"Forked from {job.parent_job_id} at epoch {job.fork['epoch']}, step {job.fork['step']:,}"
    return f"<div class='mf-quiet'>{html.escape(f'{where}: {changes}' if changes else where)}</div>"


def note(job: Job) -> str:
    """What a person should know of the job's state: an error, an interruption, or that it runs elsewhere."""
    if job.status == JobStatus.FAILED:
        return f"<div class='mf-error' role='alert'>{html.escape(job.error or 'It failed without a word.')}</div>"
    if job.status == JobStatus.INTERRUPTED:
        return (
            f"<div class='mf-note'>Interrupted at epoch {job.current_epoch}: {html.escape(job.error or '')}. "
            f"<b>Resume</b> or <code>mf.resume({job.job_id!r})</code> goes on from the last checkpoint in this kernel.</div>"
        )
    if job.status in ACTIVE and job.pid is not None and (job.host, job.pid) != (socket.gethostname(), os.getpid()):
        where = f"kernel {html.escape(job.kernel_id[:8])}" if job.kernel_id else f"process {job.pid}"
        host = "" if job.host == socket.gethostname() else f" on {html.escape(job.host or '?')}"
        return f"<div class='mf-quiet'>Runs in another {where}{host}{_age_of_news(job)}.</div>"
    return ""


TROUBLES = {
    "checkpoint_failed": "A checkpoint could not be written. The training goes on, and it is tried again.",
    "checkpoint_damaged": "A checkpoint was damaged.",
    "callback_failed": "A callback failed.",
    "images_unreadable": "Not all images can be read.",
    "images_changed": "Images have changed.",
    "change_refused": "A change was refused.",
    "command_late": "A command came too late.",
    "out_of_memory": "The memory ran out. It goes on with smaller batches of the same steps.",
}
"""Events of a job that a person should know of although it goes on."""

TOLD = (*TROUBLES, "changed", "status")
"""Events that the monitor tells of, in words or on the curves."""

SHOWN_CHANGES = 3


def said(events: Sequence[Event]) -> str:
    """The last changes of settings, and the last of each kind of trouble, with their times."""
    changes = [event for event in events if event.kind == "changed"]
    shown = "; ".join(f"{_time(event)} {settings(event.data)}" for event in changes[-SHOWN_CHANGES:])
    lines = [f"<div class='mf-quiet'>Changed while it ran: {html.escape(shown)}</div>"] if changes else []
    last = {event.kind: event for event in events if event.kind in TROUBLES}
    for kind, event in last.items():
        line = html.escape(f"{_time(event)} {TROUBLES[kind]} {_said(event.data)}")
        lines.append(f"<div class='mf-note' role='status'>{line}</div>")
    return "".join(lines)


def settings(changes: Mapping[str, Any]) -> str:
    """`lr=0.0001, epochs=40`."""
    return ", ".join(f"{name}={_short(value)}" for name, value in changes.items() if name != "step")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _time(event: Event) -> str:
    return f"{event.at.astimezone():%H:%M}"


def _said(data: dict[str, Any]) -> str:
    where = f"{data['callback']} at {data['event']}: " if "callback" in data else ""
    return f"{where}{data['error']}"


def _age_of_news(job: Job) -> str:
    if job.heartbeat_at is None:
        return ""
    age = (dt.datetime.now(dt.UTC) - job.heartbeat_at).total_seconds()
    return f", last heard of {span(age)} ago" if age > OLD_NEWS_SECONDS else ""


def epochs(job: Job, history: Sequence[dict[str, Any]]) -> str:
    """The best epoch and the last ones as a table: losses, and the metrics that the target has, those of several side by side."""
    if not history:
        return ""
    there = recorded(name for row in history for name in row)
    first = there[0] if there else job.watched_metric
    others = [name for name in dict.fromkeys([*there, job.watched_metric]) if name not in (first, "val/loss")]
    best = [row for row in history[:-TABLE_ROWS] if row["epoch"] == job.best_epoch]
    body = ""
    for row in [*best, *history[-TABLE_ROWS:]]:
        is_best = row["epoch"] == job.best_epoch
        value, low, high = (number(row.get(f"{first}{end}")) for end in ("", "_low", "_high"))
        rate = row.get("lr")
        cells = [
            f"{'★ ' if is_best else ''}{row['epoch']}",
            number(row.get("train/loss")),
            number(row.get("val/loss")),
            f"{value} [{low}, {high}]",
            *(number(row.get(name)) for name in others),
            "–" if rate is None else f"{rate:.1e}",
            span(row.get("seconds") or 0.0),
        ]
        body += f"<tr class='{'mf-best' if is_best else ''}'>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    return f"<table>{_head(first, others)}{body}</table>"


def _head(first: str, others: Sequence[str]) -> str:
    """The names of the columns; where there are several targets, below the name of each, which may be long."""
    metrics = {name: parted(name.removeprefix("val/")) for name in (first, *others)}
    if not any(part for part, _ in metrics.values()):
        named = [f"val {words_of(first)} [95 %]", *map(words_of, others)]
        above = ""
    else:
        named = [METRICS[metric].words if metric else words_of(name) for name, (_, metric) in metrics.items()]
        named[0] += " [95 %]"
        targets = "".join(
            f"<th class='mf-target' colspan='{len(list(group))}' title='{html.escape(part, quote=True)}'>{html.escape(part)}</th>"
            for part, group in groupby(part for part, _ in metrics.values())
        )
        above = f"<tr><th colspan='3'></th>{targets}<th colspan='2'></th></tr>"
    columns = ("epoch", "train loss", "val loss", *named, "lr", "time")
    return f"{above}<tr>" + "".join(f"<th>{html.escape(words)}</th>" for words in columns) + "</tr>"


def number(value: float | None) -> str:
    """Three digits after the point; – for none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def span(seconds: float) -> str:
    """A length of time in at most two words: `0.4 s`, `35 s`, `3 min`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
