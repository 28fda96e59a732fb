"""A job as the store hands it out."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, fields
from typing import Any

from medfusion_jupyter.store.status import COMMANDS, JobStatus
from medfusion_jupyter.store.tables import JobRow


def moment(value: dt.datetime | None) -> str | None:
    """ISO 8601 in UTC with `Z`, as the browser reads it."""
    return None if value is None else value.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Job:
    """A row of `training_jobs`.

    pk: primary key; job_id: its public form, such as `job_0012`. progress: 0 to 1. current_epoch: the epoch at work, from 1;
    0 before the first. duration, seconds_left: seconds. total_steps: of all epochs. run_token: names the run that owns the job.
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
    data_config: dict[str, Any]
    training_config: dict[str, Any]
    versions: dict[str, Any]
    created_at: dt.datetime
    started_at: dt.datetime | None
    completed_at: dt.datetime | None
    duration: float | None
    model_path: str | None
    checkpoint_path: str | None
    dataset_fingerprint: str | None
    parent_job_id: str | None
    created_by: str | None
    host: str | None
    pid: int | None
    kernel_id: str | None
    heartbeat_at: dt.datetime | None
    device: str | None
    samples_per_second: float | None
    seconds_left: float | None
    memory_bytes: int | None
    run_token: str | None

    @classmethod
    def of(cls, row: JobRow) -> Job:
        same = {
            field.name: getattr(row, field.name)
            for field in fields(cls)
            if field.name not in ("pk", "status", "parent_job_id")
        }
        parent = None if row.parent_job_id is None else public_id(row.parent_job_id)
        return cls(pk=row.id, status=JobStatus(row.status), parent_job_id=parent, **same)

    @property
    def commands(self) -> list[str]:
        """What may be asked of it now."""
        return [command for command, states in COMMANDS.items() if self.status in states]

    def to_json(self) -> dict[str, Any]:
        """As the server sends it: without the run's token, with the commands that are possible now."""
        out = {k: moment(v) if isinstance(v, dt.datetime) else v for k, v in asdict(self).items()}
        del out["pk"], out["run_token"]
        return {**out, "commands": self.commands}


def public_id(pk: int) -> str:
    """`job_0001` for primary key 1."""
    return f"job_{pk:04d}"
