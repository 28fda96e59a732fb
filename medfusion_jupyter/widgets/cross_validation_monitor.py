"""The live view of a cross-validation: its state, its result, and one line a fold. Read from the store alone."""

from __future__ import annotations

import datetime as dt
import html
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ipywidgets import HTML, Layout

from medfusion_jupyter.settings.watched import recorded, words_of
from medfusion_jupyter.store import ACTIVE, JobStatus, open_store
from medfusion_jupyter.store.status import FINISHED
from medfusion_jupyter.widgets import monitor_text as text
from medfusion_jupyter.widgets.refresher import refresher

if TYPE_CHECKING:
    from medfusion_jupyter.store import Job

SHOWN_FOLDS = 20
RESULT_SECONDS = 60


class CrossValidationMonitor(HTML):  # type: ignore[misc]
    """State, result and folds of a cross-validation. Made by `medfusion.monitor`; follows it until no fold is at work."""

    value: str

    def __init__(self, job_id: str) -> None:
        super().__init__(layout=Layout(width="100%"))
        self.job_id = job_id
        self.closed = False
        self._store = open_store()
        self._refreshing = threading.Lock()
        self.add_class("mf-monitor")
        self.add_class("mf-cross-validation")
        if self.refresh():
            refresher.follow(self)

    def refresh(self) -> bool:
        """Show what the store has; False where nothing more will come."""
        with self._refreshing:
            if self.closed:
                return False
            whole = self._store.jobs.get(self.job_id)
            self._show(shown(whole, self._store.jobs.folds(self.job_id)))
            # an interrupted one may be resumed at any moment
            return whole.status not in FINISHED or whole.status == JobStatus.INTERRUPTED or result_comes(whole)

    def show_problem(self, problem: Exception) -> None:
        """Say that the store could not be read; the next refresh tries again."""
        words = html.escape(f"The store could not be read, trying again: {problem}")
        self._show(f"{text.STYLE}<div class='mf-note' role='status'>{words}</div>")

    def close(self) -> None:
        """Let go of the widget; the folds go on."""
        self.closed = True
        super().close()

    def _show(self, words: str) -> None:
        if self.value != words:
            self.value = words


def shown(whole: Job, folds: Sequence[Job]) -> str:
    """A cross-validation as HTML, every text of it escaped."""
    share = round(100 * whole.progress, 1)
    facts = [place(whole)]
    if whole.status == JobStatus.RUNNING and whole.seconds_left is not None:
        facts.append(f"{text.span(whole.seconds_left)} left")
    if whole.duration is not None:
        facts.append(f"took {text.span(whole.duration)}")
    facts += _result(whole)
    lines = "".join(f"<span>{fact}</span>" for fact in facts)
    bar = (
        f"<div class='mf-track' role='progressbar' aria-label='progress of {whole.job_id}' aria-valuenow='{share}' "
        f"aria-valuemin='0' aria-valuemax='100'><div class='mf-fill' style='width:{share}%'></div></div>"
    )
    return f"{text.title(whole)}{bar}<div class='mf-facts'>{lines}</div>{_note(whole)}{_table(whole, folds)}"


def place(whole: Job) -> str:
    """`fold 3 of 5` of a cross-validation at work, else how many are done."""
    done, number = whole.folds_done or 0, whole.num_folds
    at_work = whole.status in ACTIVE - {JobStatus.PENDING} and number is not None and done < number
    return f"fold {done + 1} of {number}" if at_work else f"{done} of {number} folds done"


def _result(whole: Job) -> list[str]:
    found = []
    for name in recorded(whole.current_metrics, "test"):
        value, low, high = (whole.current_metrics.get(f"{name}{end}") for end in ("", "_low", "_high"))
        words = words_of(name)
        if value is not None and whole.best_value is not None:
            found.append(f"<b>{words} {text.number(value)}</b> [{text.number(low)}, {text.number(high)}]")
    return found


def result_comes(whole: Job) -> bool:
    """The last fold predicts its test part after it has ended."""
    if whole.status != JobStatus.COMPLETED or whole.best_value is not None or whole.completed_at is None:
        return False
    return (dt.datetime.now(dt.UTC) - whole.completed_at).total_seconds() < RESULT_SECONDS


def _note(whole: Job) -> str:
    if not whole.error:
        return ""
    advice = ""
    if whole.status in FINISHED:
        advice = f" <code>mf.load_cross_validation('{whole.job_id}').resume()</code> runs what is missing."
    return f"<div class='mf-note'>{html.escape(whole.error)}.{advice}</div>"


def _table(whole: Job, folds: Sequence[Job]) -> str:
    body = ""
    for fold in folds[:SHOWN_FOLDS]:
        metric = f"val {words_of(fold.watched_metric)}"
        name = fold.name.removeprefix(f"{whole.name} ")
        cells = [
            f"<span class='mf-{fold.status}' title='{fold.status}'>{text.SIGNS[fold.status]}</span> {fold.fold}",
            fold.job_id,
            html.escape(name),
            f"{fold.current_epoch}/{fold.total_epochs}",
            f"{html.escape(metric)} {text.number(fold.best_value)}",
        ]
        body += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    more = len(folds) - SHOWN_FOLDS
    rest = f"<div class='mf-quiet'>and {more} more: mf.jobs(parent=…) lists them</div>" if more > 0 else ""
    head = "<th>fold</th><th>job</th><th>name</th><th>epoch</th><th>best</th>"
    return f"<table><tr>{head}</tr>{body}</table>{rest}"
