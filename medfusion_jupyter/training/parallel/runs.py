"""A run that several processes share: as the process sees it that claimed the job, and as the first of those that train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.data import Split
from medfusion_jupyter.store import FINISHED, JobStatus, Store, StoreError
from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.control import Stopped
from medfusion_jupyter.training.devices import choose_kind, computing
from medfusion_jupyter.training.parallel.launch import RankFailed, RankKilled, train_together
from medfusion_jupyter.training.parallel.ranks import Ranks
from medfusion_jupyter.training.parallel.together import SharedControl, Together
from medfusion_jupyter.training.run import Run

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def start_run(
    store: Store,
    job_id: str,
    split: Callable[[], Split],
    config: TrainingConfig,
    *,
    callbacks: Sequence[Any] = (),
    launched: bool = False,
) -> Run:
    """Claim a job and train it in its turn, in this process or, with several devices, in one for each. Arguments as of Run."""
    kind = Run if config.devices == 1 else SharedRun
    return kind(store, job_id, split, config, callbacks=callbacks, launched=launched)


class SharedRun(Run):
    """Claims a job, has several processes train it, and says what became of them where they cannot."""

    def _compute(self) -> None:
        self._status(JobStatus.INITIALIZING)
        kind = choose_kind(self.config.device, self.config.devices)
        self._split()  # written, where it was not yet: the others read it
        self.control.raise_if_ending()
        try:
            train_together(self.job_id, self._token, kind=kind, devices=self.config.devices, look=self._look)
        except RankKilled as killed:
            self._end(JobStatus.INTERRUPTED, error=str(killed))

    def _look(self) -> None:
        try:
            self.control.raise_if_ending()
        except Stopped:
            # said to this process, not to the job, as by an interrupt of its kernel
            if not self._passed_on:
                self.store.jobs.request(self.job_id, "stop", by=self.store.jobs.get(self.job_id).created_by)
            self._passed_on = True

    _passed_on = False

    def _end(self, status: JobStatus, error: str | None = None, patience: float | None = None) -> None:
        with suppress(StoreError):
            if self.store.jobs.get(self.job_id).status in FINISHED:
                return  # the first of the processes has had the last word
        super()._end(status, error, patience)

    def _beat(self, session: Session) -> None:
        if not self._begun:
            super()._beat(session)
        # commands are for the first of the processes, whose progress it tells itself
        elif not self._silent and not self.store.jobs.beat_in(session, self._pk, self._token, None):
            self.control.abandon()


class FirstRank(Run):
    """The same run in the first of the processes: it hears commands, records and saves, and leaves failures to SharedRun."""

    def __init__(
        self, store: Store, job_id: str, split: Callable[[], Split], config: TrainingConfig, *, ranks: Ranks, token: str
    ) -> None:
        self.ranks = ranks
        self._given_token = token
        super().__init__(store, job_id, split, config)

    def _enter(self, launched: bool) -> None:
        self._token = self._given_token
        self.control: SharedControl = SharedControl(self.ranks)
        self._own(self.store.jobs.get(self.job_id))
        self._detach = self.store.writer.attach(self._beat, job_pk=self._pk)

    def _compute(self) -> None:
        checkpoint = self._last_good_checkpoint()
        self.ranks.agreed(
            {
                "job_id": self.job_id,
                "config": self.config.model_dump(mode="json"),
                "folder": str(self.folder),
                "fingerprint": self.store.jobs.get(self.job_id).dataset_fingerprint,
                "checkpoint": None if checkpoint is None else str(checkpoint.path),
                "completed": self._completed,
            }
        )
        with computing(self.ranks.device, precision=self.config.precision, deterministic=self.config.deterministic):
            self._train(self.ranks.device, checkpoint, Together(self.ranks, self.control))

    def _end(self, status: JobStatus, error: str | None = None, patience: float | None = None) -> None:
        if status == JobStatus.FAILED:
            raise RankFailed(error)
        super()._end(status, error, patience)
