"""The tables, as SQLAlchemy sees them. Every change here needs a migration in `migrations/versions`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[dt.datetime]):
    """A moment, aware of its zone in Python and in UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone.")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], dt.datetime | None] | None:
        # SQLite has no moments, they are text: to parse it in the general way is a quarter of the cost of a long list
        return _of_text if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _of_text(value: str | None) -> dt.datetime | None:
    return None if value is None else dt.datetime.fromisoformat(value + "+00:00")


def now() -> dt.datetime:
    """This moment, in UTC."""
    return dt.datetime.now(dt.UTC)


# SQLite counts only INTEGER PRIMARY KEY columns up by itself
Key = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        dict[str, Any]: JSON,
        list[Any]: JSON,
        dt.datetime: UtcDateTime,
    }


def _counted(*indexes: Index | UniqueConstraint) -> tuple[Any, ...]:
    # AUTOINCREMENT: the id of a deleted row is never given again
    return (*indexes, {"sqlite_autoincrement": True})


class WorkflowRow(Base):
    __tablename__ = "workflows"
    __table_args__ = _counted()
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    nodes: Mapped[list[Any]]
    edges: Mapped[list[Any]]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    updated_at: Mapped[dt.datetime] = mapped_column(default=now)
    created_by: Mapped[str | None] = mapped_column(String(200))
    execution_count: Mapped[int] = mapped_column(default=0)
    last_executed_at: Mapped[dt.datetime | None]


class WorkflowVersionRow(Base):
    __tablename__ = "workflow_versions"
    __table_args__ = _counted(UniqueConstraint("workflow_id", "version"))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    workflow_id: Mapped[int] = mapped_column(ForeignKey("workflows.id", ondelete="CASCADE"))
    version: Mapped[int]
    nodes: Mapped[list[Any]]
    edges: Mapped[list[Any]]
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    created_by: Mapped[str | None] = mapped_column(String(200))


TAKEN = text("status = 'pending' AND (queue IS NULL OR run_token IS NOT NULL OR launched_at IS NOT NULL)")
"""Of pending jobs and executions those that a process or a kernel has taken; the others wait in a queue for their turn."""


def _taken(name: str) -> Index:
    return Index(name, "status", sqlite_where=TAKEN, postgresql_where=TAKEN)


class WorkflowExecutionRow(Base):
    __tablename__ = "workflow_executions"
    __table_args__ = _counted(_taken("ix_workflow_executions_taken"))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    workflow_id: Mapped[int] = mapped_column(ForeignKey("workflows.id", ondelete="CASCADE"), index=True)
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), index=True)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    started_at: Mapped[dt.datetime | None]
    completed_at: Mapped[dt.datetime | None]
    duration: Mapped[float | None]
    created_by: Mapped[str | None] = mapped_column(String(200))
    stop_requested_at: Mapped[dt.datetime | None]
    run_token: Mapped[str | None] = mapped_column(String(40))
    host: Mapped[str | None] = mapped_column(String(255))
    pid: Mapped[int | None]
    process_started: Mapped[float | None]
    kernel_id: Mapped[str | None] = mapped_column(String(100))
    heartbeat_at: Mapped[dt.datetime | None]
    # of an execution that a server is to start in a kernel of its own
    queue: Mapped[str | None] = mapped_column(Text)
    launched_at: Mapped[dt.datetime | None]
    gpu: Mapped[int | None]
    devices: Mapped[int] = mapped_column(default=1, server_default="1")


class NodeRunRow(Base):
    __tablename__ = "node_runs"
    __table_args__ = _counted(Index(None, "execution_id", "node_id", unique=True))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    execution_id: Mapped[int] = mapped_column(ForeignKey("workflow_executions.id", ondelete="CASCADE"), index=True)
    node_id: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20))
    output: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[dt.datetime | None]
    completed_at: Mapped[dt.datetime | None]


class JobRow(Base):
    __tablename__ = "training_jobs"
    __table_args__ = _counted(Index(None, "status", "id"), Index(None, "name", "id"), _taken("ix_training_jobs_taken"))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    model_config: Mapped[dict[str, Any]]
    data_config: Mapped[dict[str, Any]]
    training_config: Mapped[dict[str, Any]]
    versions: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(20))
    previous_status: Mapped[str | None] = mapped_column(String(20))
    progress: Mapped[float] = mapped_column(default=0.0)
    current_epoch: Mapped[int] = mapped_column(default=0)
    total_epochs: Mapped[int]
    current_step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int | None]
    current_metrics: Mapped[dict[str, Any]]
    history: Mapped[list[Any]]
    watched_metric: Mapped[str] = mapped_column(String(100))
    best_epoch: Mapped[int | None]
    best_value: Mapped[float | None]
    samples_per_second: Mapped[float | None]
    seconds_left: Mapped[float | None]
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    device: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    started_at: Mapped[dt.datetime | None]
    completed_at: Mapped[dt.datetime | None]
    duration: Mapped[float | None]
    model_path: Mapped[str | None] = mapped_column(Text)
    checkpoint_path: Mapped[str | None] = mapped_column(Text)
    dataset_fingerprint: Mapped[str | None] = mapped_column(String(64), index=True)
    parent_job_id: Mapped[int | None] = mapped_column(ForeignKey("training_jobs.id"), index=True)
    workflow_execution_id: Mapped[int | None] = mapped_column(ForeignKey("workflow_executions.id"), index=True)
    created_by: Mapped[str | None] = mapped_column(String(200))
    run_token: Mapped[str | None] = mapped_column(String(40))
    host: Mapped[str | None] = mapped_column(String(255))
    pid: Mapped[int | None]
    process_started: Mapped[float | None]
    kernel_id: Mapped[str | None] = mapped_column(String(100))
    heartbeat_at: Mapped[dt.datetime | None]
    # of a job that a server is to start in a kernel of its own
    queue: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    not_before: Mapped[dt.datetime | None]
    launched_at: Mapped[dt.datetime | None]
    gpu: Mapped[int | None]
    # of a fold of a cross-validation its number from 1; of a cross-validation how many there are, and are completed
    fold: Mapped[int | None]
    num_folds: Mapped[int | None]
    folds_done: Mapped[int | None]
    # of a fork: epoch and step of the checkpoint of parent_job_id that it began from, and the settings that it changed
    fork: Mapped[dict[str, Any] | None]


class JobCountRow(Base):
    """Number of jobs in each status, so that a list can say it without counting a million rows."""

    __tablename__ = "job_counts"
    status: Mapped[str] = mapped_column(String(20), primary_key=True)
    number: Mapped[int]


class JobCommandRow(Base):
    __tablename__ = "job_commands"
    __table_args__ = _counted(Index(None, "job_id", "taken_at"))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("training_jobs.id", ondelete="CASCADE"))
    command: Mapped[str] = mapped_column(String(40))
    arguments: Mapped[dict[str, Any] | None]
    requested_by: Mapped[str | None] = mapped_column(String(200))
    requested_at: Mapped[dt.datetime] = mapped_column(default=now)
    taken_at: Mapped[dt.datetime | None]


class MetricRow(Base):
    """Append-only: one row a job, metric and step. NULL stands for a value that was not a number."""

    __tablename__ = "job_metrics"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012
    job_id: Mapped[int] = mapped_column(ForeignKey("training_jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    value: Mapped[float | None]


class LatestMetricRow(Base):
    """The value of each metric of a job at its last finished epoch: what jobs are sorted and filtered by."""

    __tablename__ = "job_latest_metrics"
    __table_args__ = (Index(None, "name", "value", "job_id"), {"sqlite_with_rowid": False})
    job_id: Mapped[int] = mapped_column(ForeignKey("training_jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[float]


class CheckpointRow(Base):
    __tablename__ = "training_checkpoints"
    __table_args__ = _counted(UniqueConstraint("job_id", "epoch", "step"))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("training_jobs.id", ondelete="CASCADE"))
    epoch: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    metrics: Mapped[dict[str, Any]]
    checkpoint_path: Mapped[str] = mapped_column(Text)
    file_size: Mapped[int] = mapped_column(BigInteger)
    is_best: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)


class ModelRow(Base):
    __tablename__ = "models"
    __table_args__ = _counted(UniqueConstraint("name", "version"))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[int]
    description: Mapped[str] = mapped_column(Text, default="")
    backbone: Mapped[str] = mapped_column(String(100))
    num_classes: Mapped[int]
    input_shape: Mapped[list[Any]]
    accuracy: Mapped[float | None]
    loss: Mapped[float | None]
    metrics: Mapped[dict[str, Any]]
    model_path: Mapped[str] = mapped_column(Text)
    file_size: Mapped[int] = mapped_column(BigInteger)
    format: Mapped[str] = mapped_column(String(40))
    training_job_id: Mapped[int | None] = mapped_column(ForeignKey("training_jobs.id"), index=True)
    trained_epochs: Mapped[int | None]
    dataset_fingerprint: Mapped[str | None] = mapped_column(String(64), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("models.id"), index=True)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    updated_at: Mapped[dt.datetime] = mapped_column(default=now)
    created_by: Mapped[str | None] = mapped_column(String(200))
    tags: Mapped[list[Any]]


class ModelAliasRow(Base):
    __tablename__ = "model_aliases"
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    alias: Mapped[str] = mapped_column(String(100), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)


class DatasetRow(Base):
    __tablename__ = "datasets"
    __table_args__ = _counted()
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    data_path: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    num_samples: Mapped[int]
    num_patients: Mapped[int | None]
    num_classes: Mapped[int]
    train_samples: Mapped[int | None]
    val_samples: Mapped[int | None]
    test_samples: Mapped[int | None]
    class_distribution: Mapped[dict[str, Any]]
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    updated_at: Mapped[dt.datetime] = mapped_column(default=now)
    created_by: Mapped[str | None] = mapped_column(String(200))
    tags: Mapped[list[Any]]
    analysis: Mapped[dict[str, Any] | None]


class EventRow(Base):
    """Append-only: the audit trail and the change feed."""

    __tablename__ = "events"
    __table_args__ = _counted(Index(None, "entity", "entity_id"))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(default=now)
    kind: Mapped[str] = mapped_column(String(40))
    entity: Mapped[str] = mapped_column(String(40))
    entity_id: Mapped[str] = mapped_column(String(100))
    data: Mapped[dict[str, Any]]
    actor: Mapped[str | None] = mapped_column(String(200))
