"""A handle on a job of the store, and the two ways to set one going: train and resume. How it begins: `starting.py`."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.settings.live import live_changes
from medfusion_jupyter.store import FINISHED, IllegalTransition, JobStatus, Store, open_store
from medfusion_jupyter.store.status import ASKABLE
from medfusion_jupyter.training.callbacks import check_callbacks
from medfusion_jupyter.training.checkpoints import CheckpointError
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.fitting import fitted
from medfusion_jupyter.training.forking import plan_fork, store_fork
from medfusion_jupyter.training.freezing import refuse_unknown_parts
from medfusion_jupyter.training.model import Model
from medfusion_jupyter.training.run import instead_of_change
from medfusion_jupyter.training.starting import (
    RUNS,
    JobFailed,
    check_devices,
    check_turn,
    go_on,
    refuse_cross_validation,
    remember,
    run_here,
    split_for,
    store_job,
    versions,
)
from medfusion_jupyter.training.waiting import Awaited, Progress

if TYPE_CHECKING:
    import pandas as pd

    from medfusion_jupyter.store import Job as JobRecord


class Job(Awaited):
    """A training job, in this process or any other. In a notebook it shows itself as a live monitor.

    `wait` raises JobFailed where the job failed or was interrupted.

    Everything is read from the store, so a handle is right in a second notebook and after the kernel that trained died.
    """

    def __init__(self, job_id: str, store: Store | None = None) -> None:
        self._store = store or open_store()
        self.job_id = self._store.jobs.get(job_id).job_id

    def __repr__(self) -> str:
        job = self.record
        best = ""
        if job.best_value is not None:
            best = f", best {job.watched_metric} {job.best_value:.3f} at epoch {job.best_epoch}"
        error = f": {job.error}" if job.error else ""
        if job.fork is not None:
            best += f", forked from {job.parent_job_id} at epoch {job.fork['epoch']}"
        return f"<Job {self.job_id} {job.name!r}: {job.status}, epoch {job.current_epoch} of {job.total_epochs}{best}{error}>"

    @property
    def record(self) -> JobRecord:
        """The job's row of the store as it is now."""
        return self._store.jobs.get(self.job_id)

    @property
    def status(self) -> JobStatus:
        """pending, initializing, running, paused, completed, failed, stopped or interrupted."""
        return self.record.status

    @property
    def history(self) -> pd.DataFrame:
        """One row a finished epoch: losses, the validation metrics with their 95 % interval, learning rate, seconds."""
        import pandas as pd

        rows = self._store.jobs.history(self.job_id)
        return pd.DataFrame(rows).set_index("epoch") if rows else pd.DataFrame()

    def metrics(self, name: str) -> pd.Series[float]:
        """Every recorded value of one metric by step, such as `train/loss` (each step) or `val/auroc` (each epoch).

        Raises KeyError with the names there are where none was recorded under `name`.
        """
        import pandas as pd

        if self.job_id in RUNS:
            self._store.writer.flush()
        series = self._store.metrics.series(self.job_id, name)
        if not series.steps:
            there = ", ".join(self._store.metrics.names(self.job_id)) or "none yet"
            raise KeyError(f"{self.job_id} has no metric {name!r}. Recorded: {there}.")
        return pd.Series(series.values, index=pd.Index(series.steps, name="step"), name=name)

    def pause(self) -> None:
        """Rest after the batch under way. Raises IllegalTransition where the job does not run."""
        self._request("pause")

    def resume(self) -> None:
        """Go on after a pause; a job that has ended or was interrupted goes on in this process, as by `mf.resume`."""
        if self.status in FINISHED:
            resume(self.job_id)
        else:
            self._request("resume")

    def stop(self) -> None:
        """End after the batch under way; the best epoch so far is kept as the model."""
        self._request("stop")

    def checkpoint(self) -> None:
        """Save when the step under way is done, so that a resume goes on from there.

        Raises IllegalTransition where the job does not run.
        """
        self._request("checkpoint")

    def set(self, **changes: Any) -> None:
        """Change lr, encoder_lr, epochs, patience, min_delta or unfreeze of a job at work: from its next step on, and for good.

        unfreeze: parts of what is frozen that shall learn, such as ["image_encoder.stem"], or "all". A change is an event of the
        job. A module that the image encoder does not have is refused here; one of another part, which depends on the cohort, by
        an event.

        Raises ConfigError for another setting or a value out of range, IllegalTransition where the job is not at work: one that
        has ended is given more epochs by `mf.resume`, and other settings by `fork`.
        """
        status = self.status
        if status in FINISHED:
            raise IllegalTransition(
                self.job_id,
                current=status,
                wanted="set",
                allowed=sorted(ASKABLE["set"]),
                instead=instead_of_change(self.job_id, changes),
            )
        settings = self.record.training_config
        taken = live_changes(settings, changes)
        refuse_unknown_parts(TrainingConfig.of(settings), taken.get("unfreeze", ()), "unfreeze")
        self._request("set", taken)

    def fork(
        self,
        *,
        epoch: int | None = None,
        step: int | None = None,
        callbacks: Sequence[Any] = (),
        detach: bool = False,
        priority: int = 0,
        not_before: dt.datetime | None = None,
        **changes: Any,
    ) -> Job:
        """Begin a new job from a checkpoint of this one with other settings, such as lr, epochs, optimizer or batch_size.

        epoch: the checkpoint that was made after it; step: the one of that step; by default the newest. What is not in
        `changes` is as in this job, its split too, and what shapes the weights cannot be changed. Epochs are counted on:
        `epochs` is their number at the end, and the learning rate is where the schedule over all of them has it. Patience
        and max_time count from the fork. callbacks, detach, priority, not_before: as for `mf.train`.

        Raises ConfigError for a change that the checkpoint does not allow, naming it, BadValue where there is no such
        checkpoint, naming those there are, and CheckpointError where it cannot be read.
        """
        callbacks = check_turn(callbacks, detach, priority, not_before)
        store = self._store
        plan = plan_fork(store, self.job_id, epoch=epoch, step=step, changes=changes)
        if not detach:
            check_devices(plan.config, callbacks)
        made = store_fork(store, plan, versions())
        if detach:
            store.queue.add(made.job_id, priority=priority, not_before=not_before)
            return Job(made.job_id, store)
        go_on(store, made, callbacks)
        return Job(made.job_id, store)

    def _progress(self) -> Progress:
        job, run = self.record, RUNS.get(self.job_id)
        failed = None
        if job.status in (JobStatus.FAILED, JobStatus.INTERRUPTED):
            said = job.error or "its process is gone"
            failed = JobFailed(f"{self.job_id} {job.status} at epoch {job.current_epoch}: {said}")
        return Progress(
            share=job.progress,
            words=f"{self.job_id} {_in_one_line(job)}",
            state=f"{self.job_id} is {job.status}",
            ended=job.status in FINISHED and (run is None or run.ended.is_set()),
            failed=failed,
        )

    def _end(self) -> threading.Event | None:
        run = RUNS.get(self.job_id)
        return None if run is None else run.ended

    @property
    def model(self) -> Model:
        """The model at its best epoch so far, or the last where none was validated yet.

        Raises CheckpointError where no epoch has finished.
        """
        job = self.record
        if job.model_path and Path(job.model_path).exists():
            versions = self._store.models.list(search=job.name, limit=100).items
            version = next((m.version for m in versions if m.model_path == job.model_path), None)
            return Model.load(Path(job.model_path), version=version)
        best = self._store.checkpoints.best(self.job_id)
        if best is None:
            raise CheckpointError(f"{self.job_id} has no model yet: no epoch has finished. It is {job.status}.")
        return Model.from_checkpoint(Path(best.checkpoint_path), name=job.name)

    def _request(self, command: str, arguments: dict[str, Any] | None = None) -> None:
        self._store.jobs.request(self.job_id, command, arguments)
        if self.job_id in RUNS:
            self._store.writer.wake()


def train(
    cohort: Cohort | Split,
    *,
    callbacks: Sequence[Any] = (),
    detach: bool = False,
    priority: int = 0,
    not_before: dt.datetime | None = None,
    **settings: Any,
) -> Job:
    """Train a model of images and table on a cohort; returns at once.

    cohort: is split by patient into training, validation and test parts (settings val, test and seed); or a Split made by
    `cohort.split`. settings: those of TrainingConfig, such as image_encoder, fusion, epochs, batch_size, lr, patience.
    callbacks: objects with some of the methods of `Callback`, called in the training thread; an exception in one is named in a
    warning and an event of the job, and the run goes on.

    devices=2 shares each batch of batch_size rows among two GPUs, a process for each, as one of them would have trained it. These
    processes know the parts of models that installed packages register, and no callbacks.

    By default a background thread of this process trains; a second job in the process waits until the first has ended. With
    detach=True the job is queued, and a Jupyter server of this host and MEDFUSION_HOME trains it in a kernel of its own, which
    outlives this one: one job a GPU at a time, those of the highest `priority` (-1000 to 1000) first, none before `not_before`
    (a moment with its zone).

    Raises ConfigError for a setting that does not exist or has a bad value, and CohortError where the cohort cannot be
    split so; nothing is stored then.
    """
    callbacks = check_turn(callbacks, detach, priority, not_before)
    config = TrainingConfig.of(settings)
    if not detach:
        check_devices(config, callbacks)
    if isinstance(cohort, Split):
        given = sorted({"val", "test"} & settings.keys())
        if given:
            raise ConfigError(f"{' and '.join(given)} cannot be set beside a Split, which has its parts already.")
    split = split_for(cohort, config)
    if not detach:
        return Job(run_here(split, config, callbacks=callbacks).job_id)
    config = fitted(config, split.cohort.target.tasks)
    store = open_store()
    record = store_job(store, split, config)
    remember(split, record.job_id)
    store.queue.add(record.job_id, priority=priority, not_before=not_before)
    return Job(record.job_id, store)


def load_job(job_id: str) -> Job:
    """A handle on any job of the store. Raises UnknownId, naming the newest ids, where there is none.

    The handle on a cross-validation is `mf.load_cross_validation`; BadValue says so.
    """
    job = Job(job_id)
    refuse_cross_validation(job.record)
    return job


def resume(job_id: str, *, epochs: int | None = None, callbacks: Sequence[Any] = ()) -> Job:
    """Go on with an interrupted, stopped, failed or early-ended job from its last checkpoint, in this process.

    epochs: another number of epochs in all, with which a job that has finished all of its own goes on too. The schedule of the
    learning rate is over all epochs: it goes on as if they had been so many from the start, so a cosine that had come to 0
    rises again to where it is at this place of the longer run.
    A paused job of a live process is told to go on there. callbacks: as for `train`; one that has a state in the checkpoint, by
    its class's name, is given it back. Raises IllegalTransition where the job is at work, JobFailed where all its epochs are
    done, and ConfigError for a number of epochs that is not above those that are done.
    """
    callbacks = check_callbacks(callbacks)
    store = open_store()
    record = store.jobs.get(job_id)
    if record.status == JobStatus.PAUSED and epochs is None:
        store.jobs.request(job_id, "resume")
        store.writer.wake()
        return Job(job_id, store)
    if record.status not in FINISHED:
        wanted = "resume" if epochs is None else "resume with other epochs"
        raise IllegalTransition(job_id, current=record.status, wanted=wanted, allowed=sorted(FINISHED))
    refuse_cross_validation(record)
    done = max((one.epoch for one in store.checkpoints.list(job_id)), default=0)
    if epochs is not None:
        TrainingConfig.of({**record.training_config, "epochs": epochs})
        if epochs <= done:
            raise ConfigError(f"epochs={epochs}, and {job_id} has finished {done}: give more to go on with.")
        record = store.jobs.extend(job_id, epochs)
    elif record.status == JobStatus.COMPLETED and done >= record.total_epochs:
        raise JobFailed(
            f"{job_id} has finished all its {done} epochs: mf.resume({job_id!r}, epochs={2 * done}) goes on for more."
        )
    go_on(store, record, callbacks)
    return Job(record.job_id, store)


def _in_one_line(job: JobRecord) -> str:
    place = f"epoch {job.current_epoch}/{job.total_epochs}"
    if job.num_folds is not None:
        place = f"{job.folds_done} of {job.num_folds} folds done"
    parts = [str(job.status), place]
    for name in dict.fromkeys(["train/loss", job.watched_metric]):
        value = job.current_metrics.get(name)
        if value is not None:
            parts.append(f"{name} {value:.3f}")
    if job.seconds_left is not None and job.status == JobStatus.RUNNING:
        parts.append(f"{job.seconds_left:.0f} s left")
    return ", ".join(parts)
