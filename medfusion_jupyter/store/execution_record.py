"""An execution of a workflow and the runs of its nodes, as the store hands them out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Self

from medfusion_jupyter.store.job_record import moment
from medfusion_jupyter.store.status import EXECUTION_ACTIVE, ExecutionStatus, NodeStatus
from medfusion_jupyter.store.tables import NodeRunRow, WorkflowExecutionRow


@dataclass(frozen=True)
class Execution:
    """A row of `workflow_executions`.

    version: of the workflow, whose graph it is. result: `{"nodes": {status: number}}` at the end. duration: seconds.
    stop_requested_at: when somebody asked it to stop; launched_at: when a server began to start a kernel for it; gpu: number
    of the GPU that it was given, the first one of `devices`.
    """

    id: int
    workflow_id: int
    version: int
    status: ExecutionStatus
    result: dict[str, Any] | None
    error: str | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    completed_at: dt.datetime | None
    duration: float | None
    created_by: str | None
    stop_requested_at: dt.datetime | None
    host: str | None
    pid: int | None
    kernel_id: str | None
    heartbeat_at: dt.datetime | None
    launched_at: dt.datetime | None
    gpu: int | None
    devices: int

    @classmethod
    def of(cls, row: WorkflowExecutionRow) -> Self:
        """From its row."""
        values = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        return cls(**{**values, "status": ExecutionStatus(row.status)})

    @property
    def is_active(self) -> bool:
        """Whether it waits or is at work."""
        return self.status in EXECUTION_ACTIVE

    def to_json(self) -> dict[str, Any]:
        return {k: moment(v) if isinstance(v, dt.datetime) else v for k, v in self.__dict__.items()}


@dataclass(frozen=True)
class ExecutionSummary:
    """An execution in few words. nodes: how many of its nodes are in each status."""

    id: int
    status: ExecutionStatus
    error: str | None
    started_at: dt.datetime | None
    completed_at: dt.datetime | None
    nodes: dict[str, int]

    @classmethod
    def of(cls, row: WorkflowExecutionRow, nodes: dict[str, int]) -> Self:
        """From its row."""
        return cls(row.id, ExecutionStatus(row.status), row.error, row.started_at, row.completed_at, nodes)

    def to_json(self) -> dict[str, Any]:
        return {k: moment(v) if isinstance(v, dt.datetime) else v for k, v in self.__dict__.items()}


@dataclass(frozen=True)
class NodeRun:
    """A row of `node_runs`: one node of an execution. output: a summary of what it gave, as JSON."""

    id: int
    node_id: str
    status: NodeStatus
    output: dict[str, Any] | None
    error: str | None
    started_at: dt.datetime | None
    completed_at: dt.datetime | None

    @classmethod
    def of(cls, row: NodeRunRow) -> Self:
        """From its row."""
        values = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        return cls(**{**values, "status": NodeStatus(row.status)})

    def to_json(self) -> dict[str, Any]:
        return {k: moment(v) if isinstance(v, dt.datetime) else v for k, v in self.__dict__.items()}
