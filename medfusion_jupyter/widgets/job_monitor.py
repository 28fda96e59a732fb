"""The live monitor of a training job, read from the store: the same in the kernel that trains and in any other."""

from __future__ import annotations

import html
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Button, HBox, Layout, VBox

from medfusion_jupyter.settings.live import live_changes
from medfusion_jupyter.settings.training import ConfigError
from medfusion_jupyter.store import ACTIVE, FINISHED, RESUMABLE, JobStatus, StoreError, open_store
from medfusion_jupyter.store.status import ASKABLE
from medfusion_jupyter.widgets import monitor_text as text
from medfusion_jupyter.widgets.annotations import annotations_of
from medfusion_jupyter.widgets.change_form import ChangeForm
from medfusion_jupyter.widgets.charts import Charts, axis_end
from medfusion_jupyter.widgets.cross_validation_monitor import CrossValidationMonitor
from medfusion_jupyter.widgets.curve import Curve
from medfusion_jupyter.widgets.fork_form import ForkForm
from medfusion_jupyter.widgets.refresher import refresher

if TYPE_CHECKING:
    from medfusion_jupyter.store import Job

ASKED = {
    "pause": "Pausing …",
    "resume": "Resuming …",
    "stop": "Stopping …",
    "checkpoint": "Saving …",
    "set": "Changing …",
}

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
        self._last_said = self._newest_before = 0
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
        self.save = Button(description="Checkpoint", icon="save", layout=Layout(width="112px"))
        self.change = Button(description="Change…", icon="sliders", layout=Layout(width="104px"))
        self.fork = Button(description="Fork…", icon="code-fork", layout=Layout(width="92px"))
        self.form = ChangeForm(self._apply)
        self.fork_form = ForkForm(self._fork)
        self.charts = Charts(job.watched_metric)
        self.pause.on_click(lambda _: self._pause_or_resume())
        self.stop.on_click(lambda _: self._request("stop"))
        self.save.on_click(lambda _: self._request("checkpoint"))
        self.change.on_click(lambda _: self._show_or_hide_form())
        self.fork.on_click(lambda _: self._show_or_hide_fork_form())
        head = HBox(
            [self._title, HBox([self.pause, self.stop, self.save, self.change, self.fork])],
            layout=Layout(justify_content="space-between", flex_flow="row wrap"),
        )
        super().__init__(
            [head, self.form, self.fork_form, self._progress, self._message, self._note, self.charts, self._epochs],
            layout=Layout(width="100%", overflow="hidden"),
        )
        for widget, name in (
            (self, "mf-monitor"),
            (self._title, "mf-title"),
            (self._progress, "mf-progress"),
            (self.pause, "mf-pause"),
            (self.stop, "mf-stop"),
            (self.save, "mf-save"),
            (self.change, "mf-change-open"),
            (self.fork, "mf-fork-open"),
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
        told = self._store.events.list(entity="job", entity_id=self.job_id, kinds=text.TOLD)
        self._last_said = next((event.id for event in reversed(told) if event.kind != "status"), 0)
        steps_per_epoch = job.total_steps / job.total_epochs if job.total_steps else 1.0
        best = None if job.best_epoch is None or job.best_value is None else (job.best_epoch, job.best_value)
        ended = job.status in (JobStatus.COMPLETED, JobStatus.STOPPED)
        self.charts.draw(
            self._curves,
            steps_per_epoch=steps_per_epoch,
            epochs=job.current_epoch if ended else axis_end(job.current_step / steps_per_epoch, job.total_epochs),
            best=best,
            annotations=annotations_of(told, forked=job.fork is not None, steps_per_epoch=steps_per_epoch),
        )
        _put(self._title, text.title(job))
        _put(self._progress, text.progress(job) + text.origin(job))
        _put(self._note, text.note(job) + text.said(told))
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
        if self._asked is not None and (job.status in FINISHED or self._is_done(self._asked, job)):
            self._asked = None
            self._say("")
        resume = job.status == JobStatus.PAUSED or job.status in RESUMABLE
        words = "Resume" if resume else "Pause"
        waiting = self._asked is not None
        changeable = job.status in ASKABLE["set"] and job.num_folds is None
        if not changeable:
            self.form.hide()
        for button, trait, value in (
            (self.pause, "description", words),
            (self.pause, "icon", "play" if resume else "pause"),
            (self.pause, "disabled", waiting or not (resume or "pause" in job.commands)),
            (self.stop, "disabled", waiting or "stop" not in job.commands),
            (self.save, "disabled", waiting or "checkpoint" not in job.commands),
            (self.change, "disabled", waiting or not changeable),
            (self.fork, "disabled", job.num_folds is not None or job.checkpoint_path is None),
        ):
            if getattr(button, trait) != value:
                setattr(button, trait, value)

    def _is_done(self, asked: str, job: Job) -> bool:
        if asked in ("set", "checkpoint"):
            return self._newest(asked) > self._newest_before
        return job.status == {"pause": JobStatus.PAUSED, "resume": JobStatus.RUNNING}.get(asked)

    def _newest(self, asked: str) -> int:
        """The id of the last answer to such a command."""
        if asked == "set":
            return self._last_said
        saved = self._store.checkpoints.list(self.job_id)
        return max((one.id for one in saved), default=0)

    def _show_or_hide_form(self) -> None:
        if self.form.shown:
            self.form.hide()
        else:
            self.form.show(self._store.jobs.get(self.job_id).training_config)

    def _show_or_hide_fork_form(self) -> None:
        if self.fork_form.shown:
            self.fork_form.hide()
        else:
            there = self._store.checkpoints.list(self.job_id)
            self.fork_form.show(self._store.jobs.get(self.job_id).training_config, there)

    def _fork(self, keywords: Callable[[], dict[str, Any]]) -> None:
        from medfusion_jupyter.training import load_job  # a run of this kernel: only now is torch needed

        try:
            made = load_job(self.job_id).fork(**keywords())
        except (StoreError, RuntimeError, ValueError) as refused:
            self._say(str(refused))
            return
        self.fork_form.hide()
        self._say(f"{made.job_id} goes on from there in this kernel: mf.monitor({made.job_id!r}) shows it.")

    def _apply(self, changes: Callable[[], dict[str, Any]]) -> None:
        try:
            wanted = live_changes(self._store.jobs.get(self.job_id).training_config, changes())
        except (StoreError, ConfigError) as refused:
            self._say(str(refused))
            return
        self.form.hide()
        self._request("set", wanted)

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

    def _request(self, command: str, changes: dict[str, Any] | None = None) -> None:
        self._newest_before = self._newest(command)
        try:
            self._store.jobs.request(self.job_id, command, changes)
        except StoreError as refused:
            self._say(str(refused))
            return
        self._asked = command
        self._say(ASKED[command])
        for button in (self.pause, self.stop, self.save, self.change):
            button.disabled = True
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
