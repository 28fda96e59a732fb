"""Training jobs, as anyone sees them: made, listed, watched, given commands."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, Conflict, IllegalTransition, InUse
from medfusion_jupyter.store.job_folds import (
    FoldPlan,
    add_folds,
    delete_with_folds,
    folds_to_ask,
    refuse_change_of_fold,
)
from medfusion_jupyter.store.job_forks import JobForks
from medfusion_jupyter.store.job_list import counts_of_jobs, jobs_at_work, page_of_jobs
from medfusion_jupyter.store.job_moves import add_job, count, find_job, move, set_epochs
from medfusion_jupyter.store.job_record import Job, JobSummary, public_id
from medfusion_jupyter.store.location import home
from medfusion_jupyter.store.paging import Page
from medfusion_jupyter.store.people import current_person
from medfusion_jupyter.store.status import ACTIVE, ASKABLE, FINISHED, JobStatus
from medfusion_jupyter.store.stored_files import discarding
from medfusion_jupyter.store.tables import CheckpointRow, JobCommandRow, JobRow, ModelRow
from medfusion_jupyter.store.texts import FINGERPRINT_LENGTH, valid_metric, valid_name, valid_text
from medfusion_jupyter.store.vanished import SILENT_SECONDS, Watch

MAX_EPOCHS = 2**31 - 1


class Jobs(JobForks):
    """Repository of training jobs. What only the run that owns a job may write is in `JobRuns`, the folds in
    `JobFolds`, forks in `JobForks`, the queue in `JobQueue`."""

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
        workflow_execution_id: int | None = None,
        dataset_fingerprint: str | None = None,
        versions: Mapping[str, str] | None = None,
        folds: Sequence[FoldPlan] = (),
        by: str | None = None,
    ) -> Job:
        """Store a pending job. Raises BadValue.

        workflow_execution_id: the execution whose node it is; by: its owner, by default the person this process works for;
        folds: of a cross-validation, each stored as a pending job in the same transaction; `folds(job_id)` gives them.
        """
        with self._store.writing() as session:
            row = add_job(
                session,
                name=name,
                description=description,
                model_config=dict(model_config),
                data_config=dict(data_config),
                training_config=dict(training_config),
                versions=dict(versions or {}),
                total_epochs=_valid_epochs(total_epochs),
                watched_metric=valid_metric("watched_metric", watched_metric),
                dataset_fingerprint=None
                if dataset_fingerprint is None
                else valid_text("dataset_fingerprint", dataset_fingerprint, FINGERPRINT_LENGTH),
                parent_job_id=None if parent_job_id is None else find_job(session, parent_job_id).id,
                workflow_execution_id=workflow_execution_id,
                num_folds=len(folds) or None,
                folds_done=0 if folds else None,
                created_by=by or current_person(),
            )
            add_folds(session, row, folds)
            return Job.of(row)

    def get(self, job_id: str) -> Job:
        """The job as it is now. Raises UnknownId, naming the newest ids."""
        with self._looking() as session:
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
        with self._looking() as session:
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
        query = select(JobRow).where(JobRow.status.in_(sorted(ACTIVE))).order_by(JobRow.id.desc())
        with self._looking() as session:
            return [Job.of(row) for row in session.scalars(query)]

    def at_work(self) -> builtins.list[JobSummary]:
        """The jobs whose run is going on or paused, newest first: those that make progress."""
        with self._store.reading() as session:
            return jobs_at_work(session)

    def history(self, job_id: str) -> builtins.list[dict[str, Any]]:
        """One dictionary a finished epoch, in order."""
        with self._store.reading() as session:
            return list(find_job(session, job_id).history)

    def counts(self) -> dict[str, int]:
        """Number of jobs by status, of those that there are; a cross-validation with its folds is one."""
        with self._store.reading() as session:
            return counts_of_jobs(session)

    def list_and_counts(self, **wanted: Any) -> tuple[Page[JobSummary], dict[str, int]]:
        """What `list` gives for its arguments, all of which are wanted here, and `counts`, of one moment."""
        with self._looking() as session:
            return page_of_jobs(session, **wanted), counts_of_jobs(session)

    def update(
        self,
        job_id: str,
        *,
        seen: Mapping[str, str],
        name: str | None = None,
        description: str | None = None,
        by: str | None = None,
    ) -> Job:
        """Rename or describe a job; what is None stays.

        seen: `name` or `description` as the change was made on; Conflict where it was changed meanwhile. Raises NotYours, and
        BadValue for a text that cannot be stored.
        """
        by = by or current_person()
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            self._store.refuse_stranger(row.created_by, by, row.job_id)
            changes = {}
            if name is not None:
                changes["name"] = valid_name("name", name)
            if description is not None:
                changes["description"] = valid_text("description", description)
            for field, text in changes.items():
                there = getattr(row, field)
                if seen.get(field) != there:
                    raise Conflict(f"The {field} of {row.job_id}", seen=repr(seen.get(field)), now=repr(there))
                setattr(row, field, text)
            events.record(session, "updated", "job", row.job_id, changes, by)
            session.flush()
            return Job.of(row)

    def plan(
        self,
        job_id: str,
        *,
        model_config: Mapping[str, Any],
        data_config: Mapping[str, Any],
        training_config: Mapping[str, Any],
        watched_metric: str,
        dataset_fingerprint: str,
    ) -> None:
        """Note what a job that was launched from the queue will train, found out before its run begins."""
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            if row.status != JobStatus.PENDING or row.run_token is not None:
                raise IllegalTransition(row.job_id, current=row.status, wanted="plan", allowed=[JobStatus.PENDING])
            row.model_config, row.data_config = dict(model_config), dict(data_config)
            row.training_config, row.watched_metric = (
                dict(training_config),
                valid_metric("watched_metric", watched_metric),
            )
            row.dataset_fingerprint = dataset_fingerprint

    def request(
        self, job_id: str, command: str, arguments: Mapping[str, Any] | None = None, *, by: str | None = None
    ) -> Job:
        """Ask the run of a job for one of ASKABLE: `pause`, `resume`, `stop`, `checkpoint`, or `set` with settings.

        It obeys when the step of the optimiser under way is done.

        A pending job that no run has taken is stopped here. What is asked of a cross-validation is asked of those of its folds
        whose status allows it; the settings of folds cannot be changed. Raises IllegalTransition where the job's status does not
        allow it, NotYours for another person's job, and BadValue for an unknown command.
        """
        by = by or current_person()
        if command not in ASKABLE:
            raise BadValue(f"There is no command {command!r}; choose one of {', '.join(ASKABLE)}.")
        if command == "set" and not arguments:
            raise BadValue("set: name the settings to change, with their values.")
        self.mark_interrupted()
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            self._store.refuse_stranger(row.created_by, by, row.job_id)
            if command == "set":
                refuse_change_of_fold(row)
            if JobStatus(row.status) not in ASKABLE[command]:
                allowed = sorted(ASKABLE[command])
                raise IllegalTransition(row.job_id, current=row.status, wanted=command, allowed=allowed)
            for asked in [row] if row.num_folds is None else folds_to_ask(session, row, command):
                _ask(session, asked, command, arguments, by)
            session.flush()
            return Job.of(row)

    def extend(self, job_id: str, epochs: int, *, by: str | None = None) -> Job:
        """Change the number of epochs of a finished job, for a run that goes on with it.

        Raises IllegalTransition for one at work, NotYours, and BadValue.
        """
        by = by or current_person()
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            self._store.refuse_stranger(row.created_by, by, row.job_id)
            refuse_change_of_fold(row)
            if JobStatus(row.status) not in FINISHED or row.num_folds is not None:
                raise IllegalTransition(row.job_id, current=row.status, wanted="extend", allowed=sorted(FINISHED))
            set_epochs(row, _valid_epochs(epochs))
            row.training_config = {**row.training_config, "epochs": epochs}
            events.record(session, "changed", "job", row.job_id, {"epochs": epochs, "step": row.current_step}, by)
            session.flush()
            return Job.of(row)

    def mark_interrupted(self, older_than_seconds: float = SILENT_SECONDS) -> builtins.list[str]:
        """Mark the active jobs whose process is gone; returns their ids. Whoever looks at jobs sees to it first."""
        with self._store.reading() as session:
            silent = _WATCH.silent(session, older_than_seconds)
        return _WATCH.mark(self._store, silent)

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

    @contextmanager
    def _looking(self) -> Iterator[Session]:
        """A session that reads jobs after those whose process is gone have been marked."""
        with self._store.reading() as session:
            silent = _WATCH.silent(session)
            if not silent:
                yield session
                return
        _WATCH.mark(self._store, silent)
        with self._store.reading() as session:
            yield session

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


def _valid_epochs(epochs: int) -> int:
    if not 1 <= epochs <= MAX_EPOCHS:
        raise BadValue(f"total_epochs={epochs} is out of range: give 1 to {MAX_EPOCHS:,}.")
    return epochs


def _ask(session: Session, row: JobRow, command: str, arguments: Mapping[str, Any] | None, by: str) -> None:
    if row.run_token is None and command == "stop":
        move(session, row, JobStatus.STOPPED, by)
        return
    given = None if arguments is None else dict(arguments)
    session.add(JobCommandRow(job_id=row.id, command=command, arguments=given, requested_by=by))
    data = {"command": command, **({"arguments": given} if given else {})}
    events.record(session, "command", "job", row.job_id, data, by)


def _interrupt(session: Session, row: JobRow, news: str) -> str:
    row.error = news
    move(session, row, JobStatus.INTERRUPTED)
    return row.job_id


# the state of a cross-validation follows from its folds
_WATCH = Watch(JobRow, ACTIVE, _interrupt, JobRow.num_folds.is_(None))
