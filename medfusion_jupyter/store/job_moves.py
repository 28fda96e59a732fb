"""Finding a job's row and moving it from status to status, within a transaction."""

from __future__ import annotations

import datetime as dt
import statistics
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import IllegalTransition, RunReplaced, UnknownId
from medfusion_jupyter.store.job_record import public_id
from medfusion_jupyter.store.status import ACTIVE, FINISHED, MOVES, JobStatus
from medfusion_jupyter.store.tables import JobCountRow, JobRow, now
from medfusion_jupyter.store.texts import valid_name, valid_text

_FOLLOWED = (
    "job_id",
    "fold",
    "status",
    "progress",
    "current_epoch",
    "total_epochs",
    "seconds_left",
    "started_at",
    "completed_at",
    "duration",
    "error",
)
"""What of a fold its cross-validation follows."""


def add_job(session: Session, **columns: Any) -> JobRow:
    """Store a pending job; `columns` are those of its row. Raises BadValue for a name or text that cannot be kept."""
    columns["name"] = valid_name("name", columns["name"])
    columns["description"] = valid_text("description", columns.get("description", ""))
    row = JobRow(
        job_id=uuid.uuid4().hex,  # until the primary key is known
        status=JobStatus.PENDING,
        current_metrics={},
        history=[],
        **columns,
    )
    session.add(row)
    session.flush()
    row.job_id = public_id(row.id)
    if row.fold is None:
        count(session, JobStatus.PENDING, 1)
    events.record(session, "created", "job", row.job_id, {"name": row.name, "status": row.status}, row.created_by)
    return row


def find_job(session: Session, job_id: str, *, lock: bool = False) -> JobRow:
    """The row of `job_id`. Raises UnknownId, naming the newest ids."""
    query = select(JobRow).where(JobRow.job_id == job_id)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise unknown_job(session, job_id)
    return row


def owned_job(session: Session, job_id: str, run_token: str | None) -> JobRow:
    """The row of `job_id`, locked. Raises UnknownId, and RunReplaced where `run_token` does not own it."""
    row = find_job(session, job_id, lock=True)
    if row.run_token != run_token:
        raise RunReplaced(job_id)
    return row


def unknown_job(session: Session, job_id: str) -> UnknownId:
    """What to raise where there is no job `job_id`: it names the newest ids."""
    there = session.scalars(select(JobRow.job_id).order_by(JobRow.id.desc()).limit(5)).all()
    return UnknownId("job", job_id, there)


def move(session: Session, row: JobRow, status: JobStatus, actor: str | None = None) -> None:
    """Give a job its next status. Raises IllegalTransition for a move that its status does not allow."""
    before = JobStatus(row.status)
    if status not in MOVES[before]:
        allowed = sorted(state for state, moves in MOVES.items() if status in moves)
        raise IllegalTransition(row.job_id, current=before, wanted=status, allowed=allowed)
    at = now()
    if status == JobStatus.RUNNING and row.started_at is None:
        row.started_at = at
    if status in FINISHED:
        # of an interrupted run the last that is known of it is its heartbeat
        row.completed_at = row.heartbeat_at if status == JobStatus.INTERRUPTED else at
        row.seconds_left = None
        if row.started_at is not None and row.completed_at is not None:
            row.duration = max(dt.timedelta(), row.completed_at - row.started_at).total_seconds()
    if status == JobStatus.COMPLETED:
        row.progress = 1.0
    set_status(session, row, status, actor)


def set_epochs(row: JobRow, epochs: int) -> None:
    """Give a job another number of epochs, each with as many steps as before."""
    if row.total_steps:
        row.total_steps = round(row.total_steps / row.total_epochs * epochs)
    row.total_epochs = epochs


def begin_anew(session: Session, row: JobRow, actor: str | None = None) -> None:
    """Make a job pending for a new run, whatever it was; nothing of the run before speaks for it any longer."""
    row.error = row.completed_at = row.duration = row.heartbeat_at = row.launched_at = None
    row.run_token = row.host = row.pid = row.process_started = row.kernel_id = None
    if row.status != JobStatus.PENDING:
        set_status(session, row, JobStatus.PENDING, actor)


def set_status(session: Session, row: JobRow, status: JobStatus, actor: str | None) -> None:
    """Change the status, the number of jobs in each and the trail of events together."""
    before = JobStatus(row.status)
    row.previous_status, row.status = before, status
    if row.fold is None:
        count(session, before, -1)
        count(session, status, 1)
    data: dict[str, Any] = {"from": before, "to": status, **({"error": row.error} if row.error else {})}
    if row.current_step:
        data["step"] = row.current_step
    events.record(session, "status", "job", row.job_id, data, actor)
    if row.fold is not None:
        follow_folds(session, row, actor)


def folds_of(session: Session, whole: JobRow) -> Sequence[JobRow]:
    """The folds of a cross-validation, in order."""
    query = select(JobRow).where(JobRow.parent_job_id == whole.id, JobRow.fold.is_not(None)).order_by(JobRow.fold)
    return session.scalars(query).all()


def follow_folds(session: Session, moved: JobRow, actor: str | None = None) -> None:
    """Give the cross-validation of the fold `moved` the state that follows from its folds."""
    session.flush()
    whole = session.get_one(JobRow, moved.parent_job_id, with_for_update=True)
    # each second of a run: without the long columns
    columns = [getattr(JobRow, name) for name in _FOLLOWED]
    chosen = select(*columns).where(JobRow.parent_job_id == whole.id, JobRow.fold.is_not(None)).order_by(JobRow.fold)
    folds = session.execute(chosen).all()
    status = _status_from({JobStatus(row.status) for row in folds})
    whole.folds_done = sum(row.status == JobStatus.COMPLETED for row in folds)
    whole.progress = statistics.fmean(row.progress for row in folds)
    whole.current_epoch = sum(row.current_epoch for row in folds)
    whole.total_epochs = sum(row.total_epochs for row in folds)
    whole.seconds_left = _seconds_left(folds)
    whole.heartbeat_at, whole.device, whole.host = moved.heartbeat_at, moved.device, moved.host
    whole.started_at = min((row.started_at for row in folds if row.started_at is not None), default=None)
    ends = [row.completed_at for row in folds if row.completed_at is not None]
    whole.completed_at = max(ends) if ends and status in FINISHED else None
    whole.duration = None
    if whole.started_at is not None and whole.completed_at is not None:
        whole.duration = max(dt.timedelta(), whole.completed_at - whole.started_at).total_seconds()
    whole.error = next((f"fold {row.fold} ({row.job_id}): {row.error}" for row in folds if row.error), None)
    if status != whole.status:
        set_status(session, whole, status, actor)


def _status_from(folds: set[JobStatus]) -> JobStatus:
    """The status of a cross-validation from those of its folds."""
    if folds == {JobStatus.PENDING}:
        return JobStatus.PENDING
    if not folds & ACTIVE:
        ends = (JobStatus.INTERRUPTED, JobStatus.FAILED, JobStatus.STOPPED)
        return next((status for status in ends if status in folds), JobStatus.COMPLETED)
    at_work = folds & {JobStatus.INITIALIZING, JobStatus.RUNNING}
    return JobStatus.PAUSED if JobStatus.PAUSED in folds and not at_work else JobStatus.RUNNING


def _seconds_left(folds: Sequence[Any]) -> float | None:
    """Of those at work what they say, of those that wait as much as those before them took; None where that is not known."""
    left = [row.seconds_left for row in folds if row.status in (JobStatus.RUNNING, JobStatus.PAUSED)]
    waiting = [row for row in folds if row.status in (JobStatus.PENDING, JobStatus.INITIALIZING)]
    took = [row.duration for row in folds if row.status == JobStatus.COMPLETED and row.duration is not None]
    if not left or None in left or (waiting and not took):
        return None
    return float(sum(left)) + sum(statistics.fmean(took) for _ in waiting)


def count(session: Session, status: str, change: int) -> None:
    """Note that there are `change` more jobs in `status`; folds are not counted beside their cross-validation."""
    row = session.get(JobCountRow, status, with_for_update=True)
    if row is None:
        session.add(JobCountRow(status=status, number=change))
        session.flush()
    else:
        row.number += change
