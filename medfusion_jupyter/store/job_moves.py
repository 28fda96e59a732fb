"""Finding a job's row and moving it from status to status, within a transaction."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import IllegalTransition, UnknownId
from medfusion_jupyter.store.status import FINISHED, MOVES, JobStatus
from medfusion_jupyter.store.tables import JobCountRow, JobRow, now


def find_job(session: Session, job_id: str, *, lock: bool = False) -> JobRow:
    """The row of `job_id`. Raises UnknownId, naming the newest ids."""
    query = select(JobRow).where(JobRow.job_id == job_id)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise unknown_job(session, job_id)
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
    count(session, before, -1)
    count(session, status, 1)
    data: dict[str, Any] = {"from": before, "to": status, **({"error": row.error} if row.error else {})}
    events.record(session, "status", "job", row.job_id, data, actor)


def count(session: Session, status: str, change: int) -> None:
    """Note that there are `change` more jobs in `status`."""
    row = session.get(JobCountRow, status, with_for_update=True)
    if row is None:
        session.add(JobCountRow(status=status, number=change))
        session.flush()
    else:
        row.number += change
