"""What the run that owns a job writes. Every write names the run's token, so a run that was replaced writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, or_, select, update
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, IllegalTransition, RunReplaced
from medfusion_jupyter.store.job_moves import begin_anew, find_job, follow_folds, move, owned_job, set_epochs
from medfusion_jupyter.store.job_record import Job
from medfusion_jupyter.store.status import FINISHED, JobStatus
from medfusion_jupyter.store.tables import CheckpointRow, JobCommandRow, JobRow, LatestMetricRow, MetricRow, now

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store

PROGRESS_COLUMNS = frozenset(
    {
        "progress",
        "current_epoch",
        "current_step",
        "total_steps",
        "current_metrics",
        "samples_per_second",
        "seconds_left",
        "memory_bytes",
        "device",
    }
)

_JOB: Any = JobRow.__table__
_BEATEN = (
    select(_JOB.c.status, _JOB.c.previous_status, _JOB.c.fold)
    .where(_JOB.c.id == bindparam("pk"), _JOB.c.run_token == bindparam("token"))
    .with_for_update()
)


@dataclass(frozen=True)
class Command:
    """What was asked of a job."""

    command: str
    arguments: dict[str, Any] | None


class JobRuns:
    """Claiming a job and writing how its run goes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(
        self,
        job_id: str,
        *,
        run_token: str,
        host: str,
        pid: int,
        process_started: float,
        kernel_id: str | None,
        launched: bool = False,
    ) -> Job:
        """Make `run_token` the owner of a job that is pending without an owner, or finished; it is pending then.

        process_started: seconds since 1970, tells a process from a later one of the same number. launched: by the kernel that
        a server started for it; any other run takes a queued job out of its queue. Raises IllegalTransition where another
        live run owns the job, or where it is no longer the launched kernel's.
        """
        with self._store.writing() as session:
            row = find_job(session, job_id, lock=True)
            if row.num_folds is not None:
                raise BadValue(f"{job_id} is a cross-validation: its folds are run, not the job itself.")
            unowned = JobStatus(row.status) in FINISHED or row.run_token is None
            if not unowned or (launched and (row.status != JobStatus.PENDING or row.launched_at is None)):
                raise IllegalTransition(job_id, current=row.status, wanted="a new run", allowed=sorted(FINISHED))
            launched_at = row.launched_at
            begin_anew(session, row, row.created_by)
            if launched:
                row.launched_at = launched_at
            else:
                row.queue = row.gpu = None
            row.run_token, row.host, row.pid, row.kernel_id = run_token, host, pid, kernel_id
            row.process_started, row.heartbeat_at = process_started, now()
            # commands to an earlier run are not for this one
            session.execute(
                update(JobCommandRow)
                .where(JobCommandRow.job_id == row.id, JobCommandRow.taken_at.is_(None))
                .values(taken_at=now())
            )
            session.flush()
            return Job.of(row)

    def update_status(
        self,
        job_id: str,
        status: str,
        *,
        run_token: str | None = None,
        error: str | None = None,
        model_path: str | None = None,
        checkpoint_path: str | None = None,
        step: int | None = None,
    ) -> Job:
        """Move a job on; step: the last that it has done.

        Raises IllegalTransition for a move that its status does not allow, RunReplaced for another's job.
        """
        with self._store.writing() as session:
            row = owned_job(session, job_id, run_token)
            if error is not None:
                row.error = made_storable(error)
            if model_path is not None:
                row.model_path = model_path
            if checkpoint_path is not None:
                row.checkpoint_path = checkpoint_path
            if step is not None:
                row.current_step = step
            move(session, row, JobStatus(status), row.created_by)
            session.flush()
            return Job.of(row)

    def update_progress(self, job_id: str, *, run_token: str, **progress: Any) -> None:
        """Note how far the run is; the names are those of PROGRESS_COLUMNS."""
        with self._store.writing() as session:
            row = find_job(session, job_id)
            if not self.beat_in(session, row.id, run_token, progress):
                raise RunReplaced(job_id)

    def beat_in(self, session: Session, pk: int, run_token: str, progress: Mapping[str, Any] | None) -> bool:
        """Heartbeat and progress within a transaction; False where another run owns the job, or it was deleted.

        One that was marked as interrupted goes on; of one that has ended otherwise nothing changes.
        """
        unknown = set(progress or ()) - PROGRESS_COLUMNS
        if unknown:
            raise TypeError(f"not columns of progress: {sorted(unknown)}")
        job = session.execute(_BEATEN, {"pk": pk, "token": run_token}).one_or_none()
        if job is None:
            return False
        if JobStatus(job.status) in FINISHED - {JobStatus.INTERRUPTED}:
            return True  # a beat that was under way when the run said its last word, which has all that there is to say
        # a part of the columns: the history of a long run would be read four times a second
        session.execute(_JOB.update().where(_JOB.c.id == pk).values(heartbeat_at=now(), **(progress or {})))
        if job.status == JobStatus.INTERRUPTED and job.previous_status is not None:
            row = session.get_one(JobRow, pk)
            row.error = row.completed_at = row.duration = None
            move(session, row, JobStatus(job.previous_status))
        elif job.fold is not None and progress is not None:
            follow_folds(session, session.get_one(JobRow, pk))
        return True

    def finish_epoch(self, job_id: str, *, run_token: str, epoch: int, row: Mapping[str, Any]) -> None:
        """Append the row of a finished epoch to the job's history."""
        with self._store.writing() as session:
            job = owned_job(session, job_id, run_token)
            # anew where the answer to the first try was lost
            job.history = [*(one for one in job.history if one["epoch"] != epoch), dict(row)]
            job.current_epoch = epoch
            job.current_metrics = {
                **job.current_metrics,
                **{k: v for k, v in row.items() if k not in ("epoch", "seconds")},
            }
            keep_latest(session, job.id, row)
            events.record(session, "epoch", "job", job_id, dict(row), job.created_by)

    def note_changes(self, job_id: str, *, run_token: str, changes: Mapping[str, Any], step: int | None = None) -> None:
        """Keep settings that the run has taken over after `step`, by default the last known, for a later resume too."""
        with self._store.writing() as session:
            job = owned_job(session, job_id, run_token)
            job.current_step = job.current_step if step is None else step
            job.training_config = {**job.training_config, **changes}
            set_epochs(job, changes.get("epochs", job.total_epochs))
            events.record(session, "changed", "job", job_id, {**changes, "step": job.current_step}, job.created_by)

    def note_event(self, job_id: str, kind: str, data: Mapping[str, Any], *, run_token: str) -> None:
        """Append an event to the job's, such as `callback_failed`."""
        with self._store.writing() as session:
            job = owned_job(session, job_id, run_token)
            texts = {key: made_storable(value) if isinstance(value, str) else value for key, value in data.items()}
            events.record(session, kind, "job", job_id, texts, job.created_by)

    def set_best(self, job_id: str, *, run_token: str, epoch: int, value: float) -> None:
        """Note the best epoch so far by the watched metric."""
        with self._store.writing() as session:
            job = owned_job(session, job_id, run_token)
            job.best_epoch, job.best_value = epoch, value

    def truncate(
        self, job_id: str, *, run_token: str, epoch: int, step: int, checkpoint_path: str | None = None
    ) -> list[str]:
        """Forget what was recorded after `epoch` and `step`: the run goes on from there.

        checkpoint_path: the checkpoint that it goes on from; a fork may count its steps anew. Gives the files of the checkpoints
        that were forgotten.
        """
        with self._store.writing() as session:
            job = owned_job(session, job_id, run_token)
            job.history = [row for row in job.history if row["epoch"] <= epoch]
            job.current_epoch, job.current_step = epoch, step
            session.execute(delete(MetricRow).where(MetricRow.job_id == job.id, MetricRow.step > step))
            origin = CheckpointRow.job_id == job.id, CheckpointRow.checkpoint_path == checkpoint_path
            session.execute(update(CheckpointRow).where(*origin).values(step=step))
            later = or_(CheckpointRow.epoch > epoch, and_(CheckpointRow.epoch == epoch, CheckpointRow.step > step))
            forgotten = delete(CheckpointRow).where(CheckpointRow.job_id == job.id, later)
            return list(session.scalars(forgotten.returning(CheckpointRow.checkpoint_path)))

    def take_commands(self, job_id: str, *, run_token: str) -> list[Command]:
        """Those that no run has taken, of a job whose run has ended: they came too late for it."""
        with self._store.writing() as session:
            return self.take_commands_in(session, owned_job(session, job_id, run_token).id, run_token)

    def take_commands_in(self, session: Session, pk: int, run_token: str) -> list[Command]:
        """The commands that wait for this run, oldest first, within a transaction; they are taken by it."""
        rows = session.scalars(
            select(JobCommandRow)
            .join(JobRow, JobRow.id == JobCommandRow.job_id)
            .where(JobRow.id == pk, JobRow.run_token == run_token, JobCommandRow.taken_at.is_(None))
            .order_by(JobCommandRow.id)
        ).all()
        for row in rows:
            row.taken_at = now()
        return [Command(row.command, row.arguments) for row in rows]


def commands_wait(session: Session, pks: Sequence[int]) -> bool:
    """Whether one of these jobs was given a command that its run has not taken."""
    waits = select(JobCommandRow.id).where(JobCommandRow.job_id.in_(pks), JobCommandRow.taken_at.is_(None)).limit(1)
    return session.scalar(waits) is not None


def keep_latest(session: Session, pk: int, metrics: Mapping[str, Any]) -> None:
    """Note the metrics by which jobs are sorted and filtered; those that are no numbers are forgotten."""
    for name, value in metrics.items():
        if not name.startswith(("train/", "val/", "test/")):
            continue
        kept = session.get(LatestMetricRow, (pk, name))
        is_number = value is not None and value - value == 0
        if kept is not None and is_number:
            kept.value = value
        elif kept is not None:
            session.delete(kept)  # what is not a number has no place in an order
        elif is_number:
            session.add(LatestMetricRow(job_id=pk, name=name, value=value))


def made_storable(said: str) -> str:
    """What an exception said may quote anything, such as the undecodable name of a file; the failure is stored nevertheless."""
    return said.encode(errors="backslashreplace").decode().replace("\0", "\\0")
