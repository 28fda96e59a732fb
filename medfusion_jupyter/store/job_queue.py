"""The queue of what a server runs in kernels of their own: jobs, and executions of workflows.

Each step is a compare-and-set: nothing is launched twice.
"""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, IllegalTransition
from medfusion_jupyter.store.execution_record import Execution
from medfusion_jupyter.store.job_moves import begin_anew, find_job, folds_of, move
from medfusion_jupyter.store.job_record import Job
from medfusion_jupyter.store.location import home, queue_bell
from medfusion_jupyter.store.people import current_person
from medfusion_jupyter.store.status import ACTIVE, EXECUTION_ACTIVE, RESUMABLE, ExecutionStatus, JobStatus
from medfusion_jupyter.store.tables import JobRow, WorkflowExecutionRow, now

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store

PRIORITIES = range(-1000, 1001)


def this_queue() -> str:
    """The queue of this host and home: a job's images and cohort lie there, so only a server of both can run it."""
    return f"{socket.gethostname()}:{home().resolve()}"


class JobQueue:
    """Repository of the jobs and executions that wait for a kernel of their own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self, job_id: str, *, priority: int = 0, not_before: dt.datetime | None = None, by: str | None = None
    ) -> Job:
        """Queue a pending job that no run has taken, or a finished one, which will go on from its last checkpoint.

        priority: -1000 to 1000, the highest is launched first; not_before: with its zone. Raises IllegalTransition for a job at
        work, and for one that has finished its epochs; NotYours; BadValue. Of a cross-validation those of its folds are queued
        that are neither completed nor at work.
        """
        by = by or current_person()
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            self._store.refuse_stranger(row.created_by, by, row.job_id)
            rows = [row] if row.num_folds is None else [one for one in folds_of(session, row) if _can_be_queued(one)]
            if not rows or not _can_be_queued(rows[0]):
                raise IllegalTransition(row.job_id, current=row.status, wanted="queue", allowed=sorted(RESUMABLE))
            for one in rows:
                begin_anew(session, one, by)
                one.queue = this_queue()
                self._schedule(one, priority, not_before)
                data = {"priority": priority, "not_before": None if not_before is None else not_before.isoformat()}
                events.record(session, "queued", "job", one.job_id, data, by)
            session.flush()
            job = Job.of(row)
        ring()
        return job

    def reschedule(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        not_before: dt.datetime | None = None,
        by: str | None = None,
    ) -> Job:
        """Change the turn of a job that waits in a queue; None stays. Raises IllegalTransition where it waits no longer."""
        by = by or current_person()
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            self._store.refuse_stranger(row.created_by, by, row.job_id)
            if row.queue is None or row.launched_at is not None or row.status != JobStatus.PENDING:
                raise IllegalTransition(row.job_id, current=row.status, wanted="reschedule", allowed=["in a queue"])
            self._schedule(
                row,
                row.priority if priority is None else priority,
                row.not_before if not_before is None else not_before,
            )
            at = None if row.not_before is None else row.not_before.isoformat()
            events.record(session, "queued", "job", row.job_id, {"priority": row.priority, "not_before": at}, by)
            session.flush()
            job = Job.of(row)
        ring()
        return job

    def waiting(self) -> list[Job]:
        """The jobs of this queue that are not launched, in the order in which they will be, those of a later time last."""
        at = now()
        with self._store.reading() as session:
            rows = session.scalars(
                select(JobRow).where(*_waits(JobRow)).order_by(JobRow.priority.desc(), JobRow.id)
            ).all()
            jobs = [Job.of(row) for row in rows]
        due = [job for job in jobs if job.not_before is None or job.not_before <= at]
        later = [job for job in jobs if job.not_before is not None and job.not_before > at]
        return due + sorted(later, key=lambda job: job.not_before or at)

    def executions_waiting(self) -> int:
        """Number of executions of this queue that are not launched."""
        waiting = select(func.count()).select_from(WorkflowExecutionRow).where(*_waits(WorkflowExecutionRow))
        with self._store.reading() as session:
            return session.scalar(waiting) or 0

    def launch_next(self, places: int, gpus: int) -> Job | Execution | None:
        """Mark what is next in this queue as launched, and give it a GPU; None where none is due or no place is free.

        Jobs go by their priority; among those of priority 0 and the executions who was made first goes first.
        places: how many may be at work at once; gpus: how many this host has, the one with the fewest jobs is given. A job of
        several devices, or an execution with one among its nodes, takes so many places, or all where there are fewer, and
        neighbouring GPUs, of which `gpu` is the first.
        """
        with self._store.writing() as session:
            taken = [gpu for first, devices in self._at_work(session) for gpu in _gpus(first, devices)]
            row = _next_due(session)
            if row is None:
                return None
            wanted = devices_of(row.training_config) if isinstance(row, JobRow) else row.devices
            if len(taken) + min(wanted, places) > places:
                return None
            row.launched_at = now()
            firsts = range(max(1, gpus - wanted + 1) if gpus else 0)
            row.gpu = min(firsts, key=lambda first: sum(map(taken.count, _gpus(first, wanted))), default=None)
            entity, entity_id = ("job", row.job_id) if isinstance(row, JobRow) else ("execution", str(row.id))
            events.record(session, "launched", entity, entity_id, {"gpu": row.gpu}, row.created_by)
            session.flush()
            return Job.of(row) if isinstance(row, JobRow) else Execution.of(row)

    def not_begun(self, job_id: str, launched_at: dt.datetime | None, error: str) -> None:
        """Note that the kernel of a launched job could not begin it; nothing happens where it has begun after all."""
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            if row.run_token is None and row.status == JobStatus.PENDING and row.launched_at == launched_at:
                row.error = error
                move(session, row, JobStatus.FAILED)

    def at_work(self) -> int:
        """Number of launched jobs and executions of this queue that have not ended."""
        with self._store.reading() as session:
            return len(self._at_work(session))

    def _at_work(self, session: Session) -> list[tuple[int | None, int]]:
        """The first GPU (None: the processor) of what was launched from this queue and has not ended, and how many devices."""
        jobs = select(JobRow.gpu, JobRow.training_config).where(*_goes_on(JobRow, ACTIVE))
        of_jobs = [(gpu, devices_of(config)) for gpu, config in session.execute(jobs)]
        running = _goes_on(WorkflowExecutionRow, EXECUTION_ACTIVE)
        executions = select(WorkflowExecutionRow.gpu, WorkflowExecutionRow.devices).where(*running)
        return of_jobs + [(gpu, devices) for gpu, devices in session.execute(executions)]

    def _schedule(self, row: JobRow, priority: int, not_before: dt.datetime | None) -> None:
        if priority not in PRIORITIES:
            raise BadValue(f"priority={priority} is out of range: give {PRIORITIES[0]} to {PRIORITIES[-1]}.")
        if not_before is not None and not_before.tzinfo is None:
            raise BadValue(f"not_before={not_before.isoformat()} has no time zone: add one, such as +00:00.")
        row.priority, row.not_before = priority, not_before


def _next_due(session: Session) -> JobRow | WorkflowExecutionRow | None:
    job = session.scalars(
        select(JobRow)
        .where(*_waits(JobRow), or_(JobRow.not_before.is_(None), JobRow.not_before <= now()))
        .order_by(JobRow.priority.desc(), JobRow.id)
        .limit(1)
        .with_for_update()
    ).one_or_none()
    execution = session.scalars(
        select(WorkflowExecutionRow)
        .where(*_waits(WorkflowExecutionRow))
        .order_by(WorkflowExecutionRow.id)
        .limit(1)
        .with_for_update()
    ).one_or_none()
    if job is None or execution is None:
        return job or execution
    return job if (-job.priority, job.created_at) <= (0, execution.created_at) else execution


def _waits(row: type[JobRow] | type[WorkflowExecutionRow]) -> tuple[ColumnElement[bool], ...]:
    pending = JobStatus.PENDING if row is JobRow else ExecutionStatus.PENDING
    return row.status == pending, row.queue == this_queue(), row.launched_at.is_(None)


def _goes_on(row: type[JobRow] | type[WorkflowExecutionRow], active: frozenset[Any]) -> tuple[ColumnElement[bool], ...]:
    return row.status.in_(sorted(active)), row.queue == this_queue(), row.launched_at.is_not(None)


def devices_of(training_config: Mapping[str, Any]) -> int:
    """How many devices share a job."""
    return int(training_config.get("devices", 1))


def _gpus(first: int | None, devices: int) -> list[int | None]:
    return [None] * devices if first is None else list(range(first, first + devices))


def _can_be_queued(row: JobRow) -> bool:
    status = JobStatus(row.status)
    waiting = status == JobStatus.PENDING and row.run_token is None and row.launched_at is None
    return waiting or status in RESUMABLE


def ring() -> None:
    """Have the servers of this home look at the queue."""
    queue_bell().parent.mkdir(parents=True, exist_ok=True)
    queue_bell().write_text(now().isoformat(), encoding="utf-8")
