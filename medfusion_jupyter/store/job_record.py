"""A job as the store hands it out: in short for lists, or whole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Self

from medfusion_jupyter.store.status import COMMANDS, RESUMABLE, JobStatus


def moment(value: dt.datetime | None) -> str | None:
    """ISO 8601 in UTC with `Z`, as the browser reads it."""
    return None if value is None else value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


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
        """From a row of the table."""
        return cls.of_values(_VALUES[cls](row))

    @classmethod
    def of_values(cls, values: Iterable[Any]) -> Self:
        """From the values of its columns in the order of the fields; what comes after them is left alone."""
        made = object.__new__(cls)
        # at once: the constructor of a frozen class sets field by field, which a list of 50 jobs would feel
        given = made.__dict__
        given.update(zip(_FIELDS[cls], values, strict=False))
        given["status"] = JobStatus(given["status"])
        if given["parent_job_id"] is not None:
            given["parent_job_id"] = public_id(given["parent_job_id"])
        return made

    @property
    def commands(self) -> list[str]:
        """What may be asked of it now."""
        return list(_COMMANDS[self.status])

    def to_plain(self) -> dict[str, Any]:
        """As the server sends it: without the run's token, with the commands that are possible now. Moments stay moments."""
        out = {**self.__dict__, "commands": self.commands}
        for name in _INTERNAL:
            out.pop(name, None)
        return out

    def to_json(self) -> dict[str, Any]:
        """The same in the types of JSON."""
        out = self.to_plain()
        for name in _MOMENTS:
            out[name] = moment(out[name])
        return out


@dataclass(frozen=True)
class Job(JobSummary):
    """A row of `training_jobs`. workflow_execution_id: of which it is a node; run_token: names the run that owns the job.

    fork: of one that began from a checkpoint of parent_job_id, its `epoch` and `step`, and `changes` as {"from": …, "to": …} by
    setting.
    """

    workflow_execution_id: int | None
    data_config: dict[str, Any]
    training_config: dict[str, Any]
    versions: dict[str, Any]
    model_path: str | None
    checkpoint_path: str | None
    pid: int | None
    run_token: str | None
    fork: dict[str, Any] | None


_FIELDS = {cls: tuple(field.name for field in fields(cls)) for cls in (JobSummary, Job)}
_COLUMNS = {cls: ("id", *names[1:]) for cls, names in _FIELDS.items()}
_VALUES = {cls: attrgetter(*columns) for cls, columns in _COLUMNS.items()}
_COMMANDS = {
    status: ("resume",)
    if status in RESUMABLE
    else tuple(command for command, states in COMMANDS.items() if status in states)
    for status in JobStatus
}
_INTERNAL = ("pk", "run_token", "queue")
_MOMENTS = ("created_at", "started_at", "completed_at", "heartbeat_at", "not_before", "launched_at")
SUMMARY_COLUMNS = _COLUMNS[JobSummary]
"""Columns of the table that a JobSummary is made of, in the order of its fields."""


def public_id(pk: int) -> str:
    """`job_0001` for primary key 1."""
    return f"job_{pk:04d}"
