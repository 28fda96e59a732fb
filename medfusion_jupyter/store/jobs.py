"""Training jobs, as anyone sees them: made, listed, watched, given commands."""

from __future__ import annotations

import builtins
import datetime as dt
import socket
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, IllegalTransition, InUse
from medfusion_jupyter.store.job_folds import FoldPlan, JobFolds, add_folds, delete_with_folds, folds_to_ask
from medfusion_jupyter.store.job_list import page_of_jobs
from medfusion_jupyter.store.job_moves import count, find_job, move
from medfusion_jupyter.store.job_record import Job, JobSummary, public_id
from medfusion_jupyter.store.location import home
from medfusion_jupyter.store.paging import Page
from medfusion_jupyter.store.people import current_person
from medfusion_jupyter.store.status import ACTIVE, ASKABLE, CHANGEABLE, FINISHED, JobStatus
from medfusion_jupyter.store.stored_files import discarding
from medfusion_jupyter.store.tables import CheckpointRow, JobCommandRow, JobCountRow, JobRow, ModelRow, now
from medfusion_jupyter.store.texts import valid_name, valid_text

SILENT_SECONDS = 20.0
"""A live run is heard of each second; one that is silent for so long is gone."""
GONE_SECONDS = 3.0
"""The same where its process cannot be seen on this host. Not at once: it may live in another container of that name."""
LAUNCH_SECONDS = 180.0
"""A kernel that a server started for a job has claimed it by then, on a slow disk too."""


class Jobs(JobFolds):
    """Repository of training jobs. What only the run that owns a job may write is in `JobRuns`, the folds in
    `JobFolds`, the queue in `JobQueue`."""

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
        versions: Mapping[str, str] | None = None,
        folds: Sequence[FoldPlan] = (),
        by: str | None = None,
    ) -> Job:
        """Store a pending job. by: its owner, by default the person this process works for. Raises BadValue.

        folds: of a cross-validation, each stored as a pending job in the same transaction; `folds(job_id)` gives them.
        """
        with self._store.writing() as session:
            row = JobRow(
                job_id=uuid.uuid4().hex,  # until the primary key is known
                name=valid_name("name", name),
                description=valid_text("description", description),
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
                parent_job_id=None if parent_job_id is None else find_job(session, parent_job_id).id,
                num_folds=len(folds) or None,
                folds_done=0 if folds else None,
                created_by=by or current_person(),
            )
            session.add(row)
            session.flush()
            row.job_id = public_id(row.id)
            count(session, JobStatus.PENDING, 1)
            events.record(session, "created", "job", row.job_id, {"name": name, "status": row.status}, row.created_by)
            session.flush()
            add_folds(session, row, folds)
            return Job.of(row)

    def get(self, job_id: str) -> Job:
        """The job as it is now. Raises UnknownId, naming the newest ids."""
        self.mark_interrupted()
        with self._store.reading() as session:
            return Job.of(find_job(session, job_id))

    def list(
        self,
        *,
        status: str | None = None,
        search: str | None = None,
        created_by: str | None = None,
        parent_job_id: str | None = None,
        folds: bool = True,
        metric: str | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        sort: str = "created",
        falling: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[JobSummary]:
        """Jobs in order, by default newest first.

        status, created_by, parent_job_id: only those; search: part of the name or id, in any case; folds: False leaves the
        folds of cross-validations out. metric: name of one, such as `val/auroc`;
        only jobs whose last finished epoch has it, where given from at_least to at_most. sort: `created`, `name` or `metric`;
        falling: the largest first. Raises BadCursor for a bad limit or cursor, BadValue for a sort that is not one of these.
        """
        self.mark_interrupted()
        with self._store.reading() as session:
            return page_of_jobs(
                session,
                status=status,
                search=search,
                created_by=created_by,
                parent_job_id=parent_job_id,
                folds=folds,
                metric=metric,
                at_least=at_least,
                at_most=at_most,
                sort=sort,
                falling=falling,
                limit=limit,
                cursor=cursor,
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
            return list(find_job(session, job_id).history)

    def counts(self) -> dict[str, int]:
        """Number of jobs by status, of those that there are; a cross-validation with its folds is one."""
        with self._store.reading() as session:
            rows = session.execute(select(JobCountRow.status, JobCountRow.number).where(JobCountRow.number > 0))
            return {str(status): int(number) for status, number in rows}

    def update(
        self, job_id: str, *, name: str | None = None, description: str | None = None, by: str | None = None
    ) -> Job:
        """Rename or describe a job; what is None stays. Raises NotYours, and BadValue for a text that cannot be stored."""
        by = by or current_person()
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            self._store.refuse_stranger(row.created_by, by, row.job_id)
            changes = {}
            if name is not None:
                changes["name"] = row.name = valid_name("name", name)
            if description is not None:
                changes["description"] = row.description = valid_text("description", description)
            events.record(session, "updated", "job", row.job_id, changes, by)
            session.flush()
            return Job.of(row)

    def plan(
        self,
        job_id: str,
        *,
        model_config: Mapping[str, Any],
        data_config: Mapping[str, Any],
        dataset_fingerprint: str,
    ) -> None:
        """Note what a job that was launched from the queue will train, found out before its run begins."""
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            if row.status != JobStatus.PENDING or row.run_token is not None:
                raise IllegalTransition(row.job_id, current=row.status, wanted="plan", allowed=[JobStatus.PENDING])
            row.model_config, row.data_config = dict(model_config), dict(data_config)
            row.dataset_fingerprint = dataset_fingerprint

    def request(
        self, job_id: str, command: str, arguments: Mapping[str, Any] | None = None, *, by: str | None = None
    ) -> Job:
        """Ask the run of a job for one of ASKABLE: `pause`, `resume`, `stop`, or `set` with settings; it obeys at its next batch.

        A pending job that no run has taken is stopped here. What is asked of a cross-validation is asked of those of its folds
        whose status allows it; their settings cannot be changed. Raises IllegalTransition where the job's status does not
        allow it, NotYours for another person's job, and BadValue for an unknown command.
        """
        by = by or current_person()
        if command not in ASKABLE:
            raise BadValue(f"There is no command {command!r}; choose one of {', '.join(ASKABLE)}.")
        if command == "set" and (not arguments or not arguments.keys() <= CHANGEABLE):
            raise BadValue(f"set={arguments!r}: name some of {', '.join(sorted(CHANGEABLE))}.")
        self.mark_interrupted()
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            self._store.refuse_stranger(row.created_by, by, row.job_id)
            if JobStatus(row.status) not in ASKABLE[command]:
                allowed = sorted(ASKABLE[command])
                raise IllegalTransition(row.job_id, current=row.status, wanted=command, allowed=allowed)
            for asked in [row] if row.num_folds is None else folds_to_ask(session, row, command):
                _ask(session, asked, command, arguments, by)
            session.flush()
            return Job.of(row)

    def mark_interrupted(self, older_than_seconds: float = SILENT_SECONDS) -> builtins.list[str]:
        """Mark the active jobs whose process is gone; returns their ids. Whoever looks at jobs calls this first."""
        at = now()
        query = select(
            JobRow.id,
            JobRow.queue,
            JobRow.launched_at,
            JobRow.run_token,
            JobRow.heartbeat_at,
            JobRow.created_at,
            JobRow.pid,
            JobRow.host,
            JobRow.process_started,
        ).where(JobRow.status.in_(sorted(ACTIVE)), JobRow.num_folds.is_(None))
        with self._store.reading() as session:
            silent = [row for row in session.execute(query) if _is_gone(row, at, older_than_seconds)]
        if not silent:
            return []
        marked = []
        with self._store.writing() as session:
            for seen in silent:
                row = session.get(JobRow, seen.id, with_for_update=True)
                if row is None or JobStatus(row.status) not in ACTIVE:
                    continue
                # it may have spoken since, or been given to a new run
                if (row.heartbeat_at, row.launched_at) == (seen.heartbeat_at, seen.launched_at):
                    row.error = _last_news(row)
                    move(session, row, JobStatus.INTERRUPTED)
                    marked.append(row.job_id)
        return marked

    def delete(self, job_id: str, *, by: str | None = None) -> None:
        """Forget a finished job with its metrics, checkpoints and files. Raises InUse where a model or job stands on it.

        A cross-validation goes with its folds and their models, unless a model has an alias or something was made of it;
        a fold goes with its cross-validation alone.
        """
        by = by or current_person()
        self.mark_interrupted()
        with self._store.reading() as session:
            # before its files are moved aside: a live run writes there
            row = find_job(session, job_id)
            if row.num_folds is None:
                self._refuse_deletion(session, row, by)
        if row.num_folds is not None:
            delete_with_folds(self._store, job_id, by)
            return
        with discarding([home() / "jobs" / job_id]), self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            self._refuse_deletion(session, row, by)
            session.execute(delete(CheckpointRow).where(CheckpointRow.job_id == row.id))
            session.delete(row)
            count(session, row.status, -1)
            events.record(session, "deleted", "job", job_id, {"name": row.name}, by)

    def _refuse_deletion(self, session: Session, row: JobRow, by: str) -> None:
        self._store.refuse_stranger(row.created_by, by, row.job_id)
        if JobStatus(row.status) in ACTIVE:
            raise IllegalTransition(row.job_id, current=row.status, wanted="delete", allowed=sorted(FINISHED))
        models = session.scalars(select(ModelRow).where(ModelRow.training_job_id == row.id)).all()
        children = session.scalars(select(JobRow.job_id).where(JobRow.parent_job_id == row.id)).all()
        standing = [f"model {model.name} v{model.version}" for model in models] + [f"job {child}" for child in children]
        if row.fold is not None and row.parent_job_id is not None:
            standing.append(f"cross-validation {public_id(row.parent_job_id)}")
        if standing:
            raise InUse(row.job_id, standing)


def _ask(session: Session, row: JobRow, command: str, arguments: Mapping[str, Any] | None, by: str) -> None:
    if row.run_token is None and command == "stop":
        move(session, row, JobStatus.STOPPED, by)
        return
    given = None if arguments is None else dict(arguments)
    session.add(JobCommandRow(job_id=row.id, command=command, arguments=given, requested_by=by))
    data = {"command": command, **({"arguments": given} if given else {})}
    events.record(session, "command", "job", row.job_id, data, by)


def _is_gone(row: Any, at: dt.datetime, silent_seconds: float) -> bool:
    if row.queue is not None and row.run_token is None:
        # it waits for its turn, or for the kernel that was started for it
        return row.launched_at is not None and (at - row.launched_at).total_seconds() > LAUNCH_SECONDS
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
        return "its kernel never began it" if row.queue is not None else "no run ever began it"
    return f"its process {row.pid} on {row.host} is gone"
