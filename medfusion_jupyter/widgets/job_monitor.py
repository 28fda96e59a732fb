"""The live monitor of a training job, read from the store: the same in the kernel that trains and in any other."""

from __future__ import annotations

import html
import threading
import weakref
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Button, HBox, Layout, VBox

from medfusion_jupyter.store import ACTIVE, FINISHED, RESUMABLE, JobStatus, StoreError, open_store
from medfusion_jupyter.widgets import monitor_text as text
from medfusion_jupyter.widgets.charts import Charts
from medfusion_jupyter.widgets.cross_validation_monitor import CrossValidationMonitor
from medfusion_jupyter.widgets.curve import Curve
from medfusion_jupyter.widgets.refresher import refresher

if TYPE_CHECKING:
    from medfusion_jupyter.store import Job

_monitors: weakref.WeakValueDictionary[tuple[str, str], Monitor | CrossValidationMonitor] = (
    weakref.WeakValueDictionary()
)


def monitor(job_id: str) -> Monitor | CrossValidationMonitor:
    """The monitor of a job or cross-validation of the store, running here, elsewhere, or finished. Raises UnknownId.

    The same job has the same monitor in a kernel, so showing it again costs nothing.
    """
    store = open_store()
    job = store.jobs.get(job_id)
    key = (store.url, job.job_id)
    found = _monitors.get(key)
    if found is None or found.closed:
        found = _monitors[key] = Monitor(job_id) if job.num_folds is None else CrossValidationMonitor(job_id)
    else:
        refresher.follow(found)
    return found


class Monitor(VBox):  # type: ignore[misc]
    """Curves, progress and buttons of one job. Made by `medfusion.monitor`; follows the job until it has ended."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.closed = False
        self._store = open_store()
        self._refreshing = threading.Lock()
        self._shown: tuple[Any, ...] = ()
        self._asked: str | None = None
        self._trouble = False
        job = self._store.jobs.get(job_id)
        self._metrics = {
            "train": "train/loss",
            "validation": "val/loss",
            "metric": job.watched_metric,
            "low": f"{job.watched_metric}_low",
            "high": f"{job.watched_metric}_high",
        }
        self._curves = {name: Curve() for name in self._metrics}
        self._title, self._progress, self._note, self._epochs = HTML(), HTML(), HTML(), HTML()
        self._message = HTML()
        self.pause = Button(description="Pause", icon="pause", layout=Layout(width="92px"))
        self.stop = Button(description="Stop", icon="stop", layout=Layout(width="84px"))
        self.charts = Charts(job.watched_metric)
        self.pause.on_click(lambda _: self._pause_or_resume())
        self.stop.on_click(lambda _: self._request("stop"))
        head = HBox(
            [self._title, HBox([self.pause, self.stop])],
            layout=Layout(justify_content="space-between", flex_flow="row wrap"),
        )
        super().__init__(
            [head, self._progress, self._message, self._note, self.charts, self._epochs],
            layout=Layout(width="100%", overflow="hidden"),
        )
        for widget, name in (
            (self, "mf-monitor"),
            (self._title, "mf-title"),
            (self._progress, "mf-progress"),
            (self.pause, "mf-pause"),
            (self.stop, "mf-stop"),
            (self._epochs, "mf-epochs"),
        ):
            widget.add_class(name)
        if self.refresh():
            refresher.follow(self)

    def refresh(self) -> bool:
        """Show what the store has; False where the job has ended and all of it is shown."""
        with self._refreshing:
            if self.closed:
                return False
            job = self._store.jobs.get(self.job_id)
            if self._trouble:
                self._trouble = False
                self._say("")
            seen = (job.status, job.heartbeat_at, job.current_step, job.run_token, job.error)
            if seen != self._shown or job.status in ACTIVE:
                self._show(job)
                self._shown = seen
            # an interrupted job may be resumed at any moment, from any kernel
            return job.status not in FINISHED or job.status == JobStatus.INTERRUPTED

    def show_problem(self, problem: Exception) -> None:
        """Say that the store could not be read; the next refresh tries again, and takes the words back."""
        self._trouble = True
        self._say(f"The store could not be read, trying again: {problem}")

    def close(self) -> None:
        """Let go of the widgets; the job goes on. The refresher finds it closed and follows it no longer."""
        # no lock is taken here: Python calls this from wherever it collects a forgotten monitor
        self.closed = True
        for child in _below(self):
            child.close()
        super().close()

    def _show(self, job: Job) -> None:
        for name in self._curves:
            self._extend(name)
        steps_per_epoch = job.total_steps / job.total_epochs if job.total_steps else 1.0
        best = None if job.best_epoch is None or job.best_value is None else (job.best_epoch, job.best_value)
        ended = job.status in (JobStatus.COMPLETED, JobStatus.STOPPED)
        self.charts.draw(
            self._curves,
            steps_per_epoch=steps_per_epoch,
            epochs=job.current_epoch if ended else job.total_epochs,
            best=best,
        )
        _put(self._title, text.title(job))
        _put(self._progress, text.progress(job) + text.origin(job))
        troubles = self._store.events.list(entity="job", entity_id=self.job_id, kinds=text.TROUBLES)
        _put(self._note, text.note(job) + text.troubles(troubles))
        _put(self._epochs, text.epochs(job, self._store.jobs.history(self.job_id)))
        self._set_buttons(job)

    def _extend(self, name: str) -> None:
        """Add what is new to a curve."""
        curve = self._curves[name]
        last = curve.last_step
        if last is not None:
            new = self._store.metrics.series(self.job_id, self._metrics[name], since=last - 1)
            if new.steps[:1] == [last]:
                curve.extend(new.steps[1:], new.values[1:])
                return
            # the point is gone: the job was resumed from an earlier checkpoint, and what came after that is forgotten
            curve = self._curves[name] = Curve()
        whole = self._store.metrics.series(self.job_id, self._metrics[name])
        curve.extend(whole.steps, whole.values)

    def _set_buttons(self, job: Job) -> None:
        done = {"pause": (JobStatus.PAUSED,), "resume": (JobStatus.RUNNING,), "stop": ()}
        if self._asked is not None and (job.status in done[self._asked] or job.status in FINISHED):
            self._asked = None
            self._say("")
        resume = job.status == JobStatus.PAUSED or job.status in RESUMABLE
        words = "Resume" if resume else "Pause"
        waiting = self._asked is not None
        for button, trait, value in (
            (self.pause, "description", words),
            (self.pause, "icon", "play" if resume else "pause"),
            (self.pause, "disabled", waiting or not (resume or "pause" in job.commands)),
            (self.stop, "disabled", waiting or "stop" not in job.commands),
        ):
            if getattr(button, trait) != value:
                setattr(button, trait, value)

    def _pause_or_resume(self) -> None:
        job = self._store.jobs.get(self.job_id)
        if job.status in RESUMABLE:
            self._resume_here()
        else:
            self._request("resume" if job.status == JobStatus.PAUSED else "pause")

    def _resume_here(self) -> None:
        from medfusion_jupyter.training import resume  # a run of this kernel: only now is torch needed

        self._say("Resuming in this kernel …")
        try:
            resume(self.job_id)
        except (StoreError, RuntimeError, ValueError) as refused:
            self._say(str(refused))
            return
        self._say("")
        refresher.follow(self)

    def _request(self, command: str) -> None:
        try:
            self._store.jobs.request(self.job_id, command)
        except StoreError as refused:
            self._say(str(refused))
            return
        self._asked = command
        self._say({"pause": "Pausing …", "resume": "Resuming …", "stop": "Stopping …"}[command])
        self.pause.disabled = self.stop.disabled = True
        # in the kernel that trains, the next batch is the one that obeys
        self._store.writer.wake()
        refresher.follow(self)

    def _say(self, words: str) -> None:
        _put(self._message, f"<div class='mf-note' role='status'>{html.escape(words)}</div>" if words else "")


def _put(widget: HTML, value: str) -> None:
    if widget.value != value:
        widget.value = value


def _below(widget: Any) -> list[Any]:
    children = list(getattr(widget, "children", ()))
    figures = [mark for child in children for mark in getattr(child, "marks", ())]
    return [one for child in children for one in (*_below(child), child)] + figures
