"""Training jobs, as anyone sees them: made, listed, watched, given commands."""

from __future__ import annotations

import builtins
import datetime as dt
import getpass
import socket
import uuid
from collections.abc import Mapping
from typing import Any

import psutil
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, IllegalTransition, InUse
from medfusion_jupyter.store.job_record import Job, public_id
from medfusion_jupyter.store.job_runs import JobRuns
from medfusion_jupyter.store.location import home
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.status import ACTIVE, COMMANDS, FINISHED, JobStatus
from medfusion_jupyter.store.stored_files import discarding
from medfusion_jupyter.store.tables import CheckpointRow, JobCommandRow, JobRow, ModelRow, now

SILENT_SECONDS = 20.0
"""A live run is heard of each second; one that is silent for so long is gone."""
GONE_SECONDS = 3.0
"""The same where its process cannot be seen on this host. Not at once: it may live in another container of that name."""


class Jobs(JobRuns):
    """Repository of training jobs. What only the run that owns a job may write is in `JobRuns`."""

    def create(
        self,
        name: str,
        *,
        model_config: Mapping[str, Any],
        data_config: Mapping[str, Any],
        training_config: Mapping[str, Any],
        total_epochs: int,
        watched_metric: str,
        description: str = "",
        parent_job_id: str | None = None,
        dataset_fingerprint: str | None = None,
        created_by: str | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Job:
        """Store a pending job. created_by: by default the user of this process."""
        with self._store.writing() as session:
            row = JobRow(
                job_id=uuid.uuid4().hex,  # until the primary key is known
                name=name,
                description=description,
                model_config=dict(model_config),
                data_config=dict(data_config),
                training_config=dict(training_config),
                versions=dict(versions or {}),
                status=JobStatus.PENDING,
                total_epochs=total_epochs,
                watched_metric=watched_metric,
                current_metrics={},
                history=[],
                dataset_fingerprint=dataset_fingerprint,
                parent_job_id=None if parent_job_id is None else self._row(session, parent_job_id).id,
                created_by=created_by or getpass.getuser(),
            )
            session.add(row)
            session.flush()
            row.job_id = public_id(row.id)
            events.record(session, "created", "job", row.job_id, {"name": name, "status": row.status}, row.created_by)
            session.flush()
            return Job.of(row)

    def get(self, job_id: str) -> Job:
        """The job as it is now. Raises UnknownId, naming the newest ids."""
        self.mark_interrupted()
        with self._store.reading() as session:
            return Job.of(self._row(session, job_id))

    def list(
        self, *, status: str | None = None, search: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Job]:
        """Jobs, newest first. search: part of the name or id, in any case. Raises BadCursor for a bad limit or cursor."""
        self.mark_interrupted()
        query = select(JobRow)
        if status is not None:
            query = query.where(JobRow.status == status)
        if search:
            query = query.where(
                or_(JobRow.name.icontains(search, autoescape=True), JobRow.job_id.icontains(search, autoescape=True))
            )
        with self._store.reading() as session:
            return newest_first(
                session, query, JobRow.id, limit=limit, cursor=cursor, to_item=lambda row: Job.of(row[0])
            )

    def active(self) -> builtins.list[Job]:
        """The jobs that are pending or at work, newest first."""
        self.mark_interrupted()
        query = select(JobRow).where(JobRow.status.in_(sorted(ACTIVE))).order_by(JobRow.id.desc())
        with self._store.reading() as session:
            return [Job.of(row) for row in session.scalars(query)]

    def history(self, job_id: str) -> builtins.list[dict[str, Any]]:
        """One dictionary a finished epoch, in order."""
        with self._store.reading() as session:
            return list(self._row(session, job_id).history)

    def request(
        self,
        job_id: str,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        requested_by: str | None = None,
    ) -> Job:
        """Ask the run of a job to `pause`, `resume` or `stop`; it does so at its next batch.

        A pending job that no run has taken is stopped here. Raises IllegalTransition where the job's status does not
        allow it, and BadValue for an unknown command.
        """
        if command not in COMMANDS:
            raise BadValue(f"There is no command {command!r}; choose one of {', '.join(COMMANDS)}.")
        self.mark_interrupted()
        with self._store.writing() as session:
            row = self._row(session, job_id, lock=True)
            if JobStatus(row.status) not in COMMANDS[command]:
                allowed = sorted(COMMANDS[command])
                raise IllegalTransition(row.job_id, current=row.status, wanted=command, allowed=allowed)
            if row.run_token is None and command == "stop":
                self._move(session, row, JobStatus.STOPPED)
            else:
                session.add(
                    JobCommandRow(
                        job_id=row.id,
                        command=command,
                        arguments=None if arguments is None else dict(arguments),
                        requested_by=requested_by,
                    )
                )
                events.record(session, "command", "job", row.job_id, {"command": command}, requested_by)
            session.flush()
            return Job.of(row)

    def mark_interrupted(self, older_than_seconds: float = SILENT_SECONDS) -> builtins.list[str]:
        """Mark the active jobs whose process is gone; returns their ids. Whoever looks at jobs calls this first."""
        at = now()
        query = select(JobRow).where(JobRow.status.in_(sorted(ACTIVE)))
        with self._store.reading() as session:
            silent = [row for row in session.scalars(query) if _is_gone(row, at, older_than_seconds)]
        if not silent:
            return []
        marked = []
        with self._store.writing() as session:
            for seen in silent:
                row = session.get(JobRow, seen.id, with_for_update=True)
                # it may have spoken since
                if row is not None and row.heartbeat_at == seen.heartbeat_at and JobStatus(row.status) in ACTIVE:
                    row.error = _last_news(row)
                    self._move(session, row, JobStatus.INTERRUPTED)
                    marked.append(row.job_id)
        return marked

    def delete(self, job_id: str, deleted_by: str | None = None) -> None:
        """Forget a finished job with its metrics, checkpoints and files. Raises InUse where a model or job stands on it."""
        self.mark_interrupted()
        with self._store.reading() as session:
            # before its files are moved aside: a live run writes there
            self._refuse_deletion(session, self._row(session, job_id))
        with discarding([home() / "jobs" / job_id]), self._store.writing() as session:
            row = self._row(session, job_id, lock=True)
            self._refuse_deletion(session, row)
            session.execute(delete(CheckpointRow).where(CheckpointRow.job_id == row.id))
            session.delete(row)
            events.record(session, "deleted", "job", job_id, {"name": row.name}, deleted_by)

    def _refuse_deletion(self, session: Session, row: JobRow) -> None:
        if JobStatus(row.status) in ACTIVE:
            raise IllegalTransition(row.job_id, current=row.status, wanted="delete", allowed=sorted(FINISHED))
        models = session.scalars(select(ModelRow).where(ModelRow.training_job_id == row.id)).all()
        children = session.scalars(select(JobRow.job_id).where(JobRow.parent_job_id == row.id)).all()
        standing = [f"model {model.name} v{model.version}" for model in models] + [f"job {child}" for child in children]
        if standing:
            raise InUse(row.job_id, standing)

    def counts(self) -> dict[str, int]:
        """Number of jobs by status, of those that there are."""
        with self._store.reading() as session:
            rows = session.execute(select(JobRow.status, func.count()).group_by(JobRow.status))
            return {str(status): int(count) for status, count in rows}


def _is_gone(row: JobRow, at: dt.datetime, silent_seconds: float) -> bool:
    silence = (at - (row.heartbeat_at or row.created_at)).total_seconds()
    if silence > silent_seconds:
        return True
    if silence <= GONE_SECONDS or row.pid is None or row.host != socket.gethostname():
        return False
    try:
        started = psutil.Process(row.pid).create_time()
    except psutil.Error:
        return True
    # another process may have been given the number
    return row.process_started is not None and abs(started - row.process_started) > 1


def _last_news(row: JobRow) -> str:
    if row.run_token is None:
        return "no run ever began it"
    return f"its process {row.pid} on {row.host} is gone"
