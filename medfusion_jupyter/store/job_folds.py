"""A cross-validation is a job whose state follows from its folds, which are jobs of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, IllegalTransition, InUse
from medfusion_jupyter.store.job_moves import add_job, count, find_job, folds_of
from medfusion_jupyter.store.job_record import Job, public_id
from medfusion_jupyter.store.job_runs import JobRuns, keep_latest
from medfusion_jupyter.store.location import home
from medfusion_jupyter.store.status import ACTIVE, ASKABLE, FINISHED, JobStatus
from medfusion_jupyter.store.stored_files import discarding
from medfusion_jupyter.store.tables import CheckpointRow, JobRow, ModelAliasRow, ModelRow

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store


@dataclass(frozen=True)
class FoldPlan:
    """What one fold trains; the rest is as in its cross-validation."""

    name: str
    data_config: Mapping[str, Any]
    training_config: Mapping[str, Any]
    total_epochs: int
    watched_metric: str


class JobFolds(JobRuns):
    """Reading the folds of a cross-validation, and noting what they were worth together."""

    def folds(self, job_id: str) -> list[Job]:
        """The folds of a cross-validation in order; none of any other job."""
        with self._store.reading() as session:
            return [Job.of(row) for row in folds_of(session, find_job(session, job_id))]

    def note_result(self, job_id: str, metrics: Mapping[str, float]) -> None:
        """Keep what a cross-validation found of its test parts: its watched metric, which is one of them, is its best value."""
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            if row.num_folds is None:
                raise BadValue(f"{job_id} is no cross-validation: it has no result of its folds.")
            row.current_metrics = {**row.current_metrics, **metrics}
            value = metrics.get(row.watched_metric)
            row.best_value = None if value is None or value != value else value
            keep_latest(session, row.id, metrics)
            events.record(session, "result", "job", job_id, dict(metrics), row.created_by)


def add_folds(session: Session, whole: JobRow, plans: Sequence[FoldPlan]) -> None:
    """Store the pending folds of a cross-validation, numbered from 1."""
    for number, plan in enumerate(plans, start=1):
        add_job(
            session,
            name=plan.name,
            description=whole.description,
            model_config=whole.model_config,
            data_config=dict(plan.data_config),
            training_config=dict(plan.training_config),
            versions=whole.versions,
            total_epochs=plan.total_epochs,
            watched_metric=plan.watched_metric,
            dataset_fingerprint=whole.dataset_fingerprint,
            parent_job_id=whole.id,
            workflow_execution_id=whole.workflow_execution_id,
            fold=number,
            created_by=whole.created_by,
        )


def refuse_change_of_fold(row: JobRow) -> None:
    """Raise BadValue where a job is a fold of a cross-validation: its settings are those of all of them."""
    if row.fold is not None and row.parent_job_id is not None:
        raise BadValue(
            f"{row.job_id} is fold {row.fold} of the cross-validation {public_id(row.parent_job_id)}: its folds are compared, so "
            "they are trained with the same settings. A fork of it can have others."
        )


def folds_to_ask(session: Session, whole: JobRow, command: str) -> list[JobRow]:
    """The folds that a command to their cross-validation is for. Raises IllegalTransition where it is for none."""
    if command == "set":
        raise BadValue(
            f"{whole.job_id} is a cross-validation: its folds are compared, so they are trained with the same settings. Stop "
            "it and begin another with other ones."
        )
    asked = [row for row in folds_of(session, whole) if JobStatus(row.status) in ASKABLE[command]]
    if not asked:
        raise IllegalTransition(whole.job_id, current=whole.status, wanted=command, allowed=sorted(ASKABLE[command]))
    return asked


def delete_with_folds(store: Store, job_id: str, by: str) -> None:
    """Forget a finished cross-validation with its folds, their models and all their files.

    Raises IllegalTransition while a fold is at work, and InUse where a model of a fold has an alias or something was made
    of it.
    """
    with store.reading() as session:
        rows, models = _refuse_deletion(store, session, job_id, by)
        paths = [home() / "jobs" / row.job_id for row in rows] + [Path(model.model_path) for model in models]
    with discarding(paths), store.writing() as session:
        rows, models = _refuse_deletion(store, session, job_id, by)
        for model in models:
            told = {"name": model.name, "version": model.version}
            events.record(session, "deleted", "model", str(model.id), told, by)
        for row in rows:
            events.record(session, "deleted", "job", row.job_id, {"name": row.name}, by)
        whole, ids = rows[0], [row.id for row in rows]
        count(session, whole.status, -1)
        session.execute(delete(ModelRow).where(ModelRow.id.in_([model.id for model in models])))
        session.execute(delete(CheckpointRow).where(CheckpointRow.job_id.in_(ids)))
        session.execute(delete(JobRow).where(JobRow.id.in_(ids[1:])))
        session.execute(delete(JobRow).where(JobRow.id == whole.id))


def _refuse_deletion(store: Store, session: Session, job_id: str, by: str) -> tuple[list[JobRow], Sequence[ModelRow]]:
    """The cross-validation, its folds after it, and their models."""
    whole = find_job(session, job_id, lock=True)
    store.refuse_stranger(whole.created_by, by, whole.job_id)
    if JobStatus(whole.status) in ACTIVE:
        raise IllegalTransition(whole.job_id, current=whole.status, wanted="delete", allowed=sorted(FINISHED))
    rows = [whole, *folds_of(session, whole)]
    ids = [row.id for row in rows]
    models = session.scalars(select(ModelRow).where(ModelRow.training_job_id.in_(ids))).all()
    model_ids = [model.id for model in models]
    aliases = session.execute(
        select(ModelAliasRow.name, ModelAliasRow.alias).where(ModelAliasRow.model_id.in_(model_ids))
    )
    made = session.scalars(
        select(ModelRow).where(ModelRow.parent_id.in_(model_ids), ModelRow.training_job_id.not_in(ids))
    )
    forks = session.scalars(select(JobRow.job_id).where(JobRow.parent_job_id.in_(ids), JobRow.id.not_in(ids)))
    standing = [f"alias {alias} of {name}" for name, alias in aliases]
    standing += [f"model {model.name} v{model.version}" for model in made]
    standing += [f"job {fork}" for fork in forks]
    if standing:
        raise InUse(whole.job_id, standing)
    return rows, models
