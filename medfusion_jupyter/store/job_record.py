"""A job as the store hands it out: in short for lists, or whole."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields
from typing import Any, Self

from medfusion_jupyter.store.status import COMMANDS, JobStatus


def moment(value: dt.datetime | None) -> str | None:
    """ISO 8601 in UTC with `Z`, as the browser reads it."""
    return None if value is None else value.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class JobSummary:
    """A row of `training_jobs` without its long parts: what a list shows.

    pk: primary key; job_id: its public form, such as `job_0012`. progress: 0 to 1. current_epoch: the epoch at work, from 1;
    0 before the first. duration, seconds_left: seconds. total_steps: of all epochs. queue: where it is to run in a kernel
    that a server starts, None for a job of a notebook; priority: the highest of a queue is launched first; not_before: it is
    not launched earlier; gpu: number of the GPU that it was given. fold: number from 1 of a fold of the cross-validation
    parent_job_id; num_folds, folds_done: of a cross-validation, how many folds it has and how many are completed. Its epochs
    and its progress are those of all its folds.
    """

    pk: int
    job_id: str
    name: str
    description: str
    status: JobStatus
    progress: float
    current_epoch: int
    total_epochs: int
    current_step: int
    total_steps: int | None
    current_metrics: dict[str, Any]
    watched_metric: str
    best_epoch: int | None
    best_value: float | None
    error: str | None
    model_config: dict[str, Any]
    created_at: dt.datetime
    started_at: dt.datetime | None
    completed_at: dt.datetime | None
    duration: float | None
    dataset_fingerprint: str | None
    parent_job_id: str | None
    created_by: str | None
    host: str | None
    kernel_id: str | None
    heartbeat_at: dt.datetime | None
    device: str | None
    samples_per_second: float | None
    seconds_left: float | None
    memory_bytes: int | None
    queue: str | None
    priority: int
    not_before: dt.datetime | None
    launched_at: dt.datetime | None
    gpu: int | None
    fold: int | None
    num_folds: int | None
    folds_done: int | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """From a row of the table, or one with the columns that the fields need."""
        values = {name: getattr(row, name) for name in _fields(cls)}
        parent = None if row.parent_job_id is None else public_id(row.parent_job_id)
        return cls(**{**values, "pk": row.id, "status": JobStatus(row.status), "parent_job_id": parent})

    @property
    def commands(self) -> list[str]:
        """What may be asked of it now."""
        return [command for command, states in COMMANDS.items() if self.status in states]

    def to_json(self) -> dict[str, Any]:
        """As the server sends it: without the run's token, with the commands that are possible now."""
        out = {name: getattr(self, name) for name in _fields(type(self)) if name not in _INTERNAL}
        for name in _MOMENTS:
            out[name] = moment(out[name])
        return {**out, "commands": self.commands}


@dataclass(frozen=True)
class Job(JobSummary):
    """A row of `training_jobs`. run_token: names the run that owns the job."""

    data_config: dict[str, Any]
    training_config: dict[str, Any]
    versions: dict[str, Any]
    model_path: str | None
    checkpoint_path: str | None
    pid: int | None
    run_token: str | None


_NAMES: dict[type, tuple[str, ...]] = {
    cls: tuple(field.name for field in fields(cls) if field.name != "pk") for cls in (JobSummary, Job)
}
_INTERNAL = frozenset({"run_token", "queue"})
_MOMENTS = ("created_at", "started_at", "completed_at", "heartbeat_at", "not_before", "launched_at")
SUMMARY_COLUMNS = ("id", *_NAMES[JobSummary])
"""Columns of the table that a JobSummary is made of."""


def _fields(cls: type) -> tuple[str, ...]:
    return _NAMES[cls]


def public_id(pk: int) -> str:
    """`job_0001` for primary key 1."""
    return f"job_{pk:04d}"
