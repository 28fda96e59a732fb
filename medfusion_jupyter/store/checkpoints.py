"""Checkpoints of jobs: which epochs and which places within one are on the disk, and which epoch is the best."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import delete, select, update

from medfusion_jupyter.store.errors import BadValue, CheckpointGone
from medfusion_jupyter.store.job_moves import find_job, folds_of, owned_job
from medfusion_jupyter.store.job_record import moment
from medfusion_jupyter.store.tables import CheckpointRow, JobRow

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store

Made = TypeVar("Made")


@dataclass(frozen=True)
class Checkpoint:
    """A row of `training_checkpoints`. epoch, step: finished by then; file_size: bytes.

    metrics: those of its epoch; none where it was saved within the next one.
    """

    id: int
    epoch: int
    step: int
    metrics: dict[str, Any]
    checkpoint_path: str
    file_size: int
    is_best: bool
    created_at: dt.datetime

    @property
    def finishes_epoch(self) -> bool:
        """Whether it was saved after an epoch, and not within one."""
        return bool(self.metrics)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "created_at": moment(self.created_at)}


class Checkpoints:
    """Repository of checkpoints; the files themselves are the training's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        job_id: str,
        *,
        run_token: str,
        epoch: int,
        step: int,
        metrics: Mapping[str, Any],
        path: str,
        file_size: int,
        is_best: bool,
    ) -> None:
        """Note a file that is on the disk, as the job's last checkpoint and, if so, its best. Raises RunReplaced."""
        with self._store.writing() as session:
            job = owned_job(session, job_id, run_token)
            if is_best:
                session.execute(update(CheckpointRow).where(CheckpointRow.job_id == job.id).values(is_best=False))
            session.execute(
                delete(CheckpointRow).where(
                    CheckpointRow.job_id == job.id, CheckpointRow.epoch == epoch, CheckpointRow.step == step
                )
            )
            session.add(
                CheckpointRow(
                    job_id=job.id,
                    epoch=epoch,
                    step=step,
                    metrics=dict(metrics),
                    checkpoint_path=path,
                    file_size=file_size,
                    is_best=is_best,
                )
            )
            job.checkpoint_path = path

    def list(self, job_id: str) -> list[Checkpoint]:
        """The checkpoints of a job by epoch and step."""
        query = (
            select(CheckpointRow)
            .join(JobRow, JobRow.id == CheckpointRow.job_id)
            .where(JobRow.job_id == job_id)
            .order_by(CheckpointRow.epoch, CheckpointRow.step)
        )
        with self._store.reading() as session:
            return [
                Checkpoint(
                    row.id,
                    row.epoch,
                    row.step,
                    row.metrics,
                    row.checkpoint_path,
                    row.file_size,
                    row.is_best,
                    row.created_at,
                )
                for row in session.scalars(query)
            ]

    def choose(self, job_id: str, *, epoch: int | None = None, step: int | None = None) -> Checkpoint:
        """The newest checkpoint of a job; with `epoch` the one made after that epoch, with `step` the one of that step.

        Raises BadValue, naming those there are, where it has no such one; a cross-validation has none but those of its folds.
        """
        there = self.list(job_id)
        found = [
            one
            for one in there
            if (epoch is None or (one.epoch == epoch and (step is not None or one.finishes_epoch)))
            and (step is None or one.step == step)
        ]
        if not found:
            asked = " ".join(
                f"{name}={value}" for name, value in (("epoch", epoch), ("step", step)) if value is not None
            )
            known = "; ".join(f"epoch={one.epoch} step={one.step}" for one in there) or "none yet"
            with self._store.reading() as session:
                row = find_job(session, job_id)
                if row.num_folds is not None:
                    folds = ", ".join(fold.job_id for fold in folds_of(session, row))
                    raise BadValue(
                        f"{job_id} is a cross-validation: its folds have the checkpoints. Name one of {folds}."
                    )
            raise BadValue(f"{job_id} has no checkpoint {asked or 'to begin from'}. It has: {known}.")
        return found[-1]

    def made_from(
        self,
        job_id: str,
        make: Callable[[Checkpoint], Made],
        *,
        epoch: int | None = None,
        step: int | None = None,
    ) -> Made:
        """What `make` makes of the checkpoint that `choose` gives. A run at work deletes what it keeps no longer: where none was
        named, the newest one of then is taken.

        Raises BadValue as `choose`, and CheckpointGone where there is no other.
        """
        while True:
            chosen = self.choose(job_id, epoch=epoch, step=step)
            try:
                return make(chosen)
            except CheckpointGone:
                if self.choose(job_id, epoch=epoch, step=step) == chosen:
                    raise

    def best(self, job_id: str) -> Checkpoint | None:
        """The checkpoint of the best epoch, or of the last one where none was validated yet; None before the first."""
        return best_of(self.list(job_id))

    def mark_best(self, job_id: str, *, run_token: str, checkpoint: Checkpoint | None, value: float | None) -> None:
        """Note which one is the best after all, and its watched metric, where that of the best epoch was lost."""
        with self._store.writing() as session:
            job = owned_job(session, job_id, run_token)
            job.best_epoch, job.best_value = (None, None) if checkpoint is None else (checkpoint.epoch, value)
            session.execute(update(CheckpointRow).where(CheckpointRow.job_id == job.id).values(is_best=False))
            if checkpoint is not None:
                session.execute(update(CheckpointRow).where(CheckpointRow.id == checkpoint.id).values(is_best=True))

    def remove(self, checkpoint_id: int) -> None:
        """Forget a checkpoint whose file is to be deleted."""
        with self._store.writing() as session:
            session.execute(delete(CheckpointRow).where(CheckpointRow.id == checkpoint_id))


def best_of(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """The best epoch's of those that a job has, by rising epoch; else the last one's. One within an epoch is never it."""
    epochs = [one for one in checkpoints if one.finishes_epoch]
    return next((one for one in epochs if one.is_best), epochs[-1] if epochs else None)
