"""The states of a job and the moves between them."""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a training job stands. `interrupted`: its process is gone without a word; it can be resumed."""

    PENDING = "pending"
    INITIALIZING = "initializing"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


ACTIVE = frozenset({JobStatus.PENDING, JobStatus.INITIALIZING, JobStatus.RUNNING, JobStatus.PAUSED})
FINISHED = frozenset(JobStatus) - ACTIVE
RESUMABLE = FINISHED - {JobStatus.COMPLETED}
"""Ended before its time: it can go on from its last checkpoint, in a notebook's kernel or in one of its own."""

_ENDS = frozenset({JobStatus.STOPPED, JobStatus.FAILED, JobStatus.INTERRUPTED})
MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: _ENDS | {JobStatus.INITIALIZING},
    JobStatus.INITIALIZING: _ENDS | {JobStatus.RUNNING},
    JobStatus.RUNNING: _ENDS | {JobStatus.PAUSED, JobStatus.COMPLETED},
    JobStatus.PAUSED: _ENDS | {JobStatus.RUNNING, JobStatus.COMPLETED},
    # a process that was thought gone (a laptop that slept) may come back, as long as no other run took over
    JobStatus.INTERRUPTED: _ENDS | ACTIVE | {JobStatus.COMPLETED},
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.STOPPED: frozenset(),
}
"""What a run may move its own job to. A finished job goes back to pending only by being claimed for a new run."""


class ExecutionStatus(StrEnum):
    """Where an execution of a workflow stands. `interrupted`: its process is gone without a word."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


EXECUTION_ACTIVE = frozenset({ExecutionStatus.PENDING, ExecutionStatus.RUNNING})
EXECUTION_FINISHED = frozenset(ExecutionStatus) - EXECUTION_ACTIVE


class NodeStatus(StrEnum):
    """Where a node of an execution stands.

    `cached`: it gives what an earlier run of it gave, with the same settings and inputs; `skipped`: a node that it takes from
    did not complete.
    """

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


NODE_MOVES: dict[NodeStatus, frozenset[NodeStatus]] = {
    NodeStatus.PENDING: frozenset({NodeStatus.RUNNING, NodeStatus.CACHED, NodeStatus.SKIPPED}),
    NodeStatus.RUNNING: frozenset({NodeStatus.COMPLETED, NodeStatus.FAILED, NodeStatus.STOPPED}),
}
"""What a run may move a node of its own to; the end of the execution ends those that are left."""

COMMANDS: dict[str, frozenset[JobStatus]] = {
    "pause": frozenset({JobStatus.INITIALIZING, JobStatus.RUNNING}),
    "resume": frozenset({JobStatus.PAUSED}),
    "stop": ACTIVE,
    "checkpoint": frozenset({JobStatus.INITIALIZING, JobStatus.RUNNING}),
}
"""What may be asked of a live job without further words, and in which states."""

ASKABLE = {**COMMANDS, "set": frozenset({JobStatus.INITIALIZING, JobStatus.RUNNING, JobStatus.PAUSED})}
"""All commands to a run."""
