"""Finding an execution's row and moving it and its nodes from status to status, within a transaction."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import UnknownId
from medfusion_jupyter.store.status import ExecutionStatus, NodeStatus
from medfusion_jupyter.store.tables import NodeRunRow, WorkflowExecutionRow, now

_LEFT: dict[ExecutionStatus, dict[NodeStatus, NodeStatus]] = {
    ExecutionStatus.COMPLETED: {},
    ExecutionStatus.FAILED: {NodeStatus.PENDING: NodeStatus.SKIPPED, NodeStatus.RUNNING: NodeStatus.FAILED},
    ExecutionStatus.STOPPED: {NodeStatus.PENDING: NodeStatus.STOPPED, NodeStatus.RUNNING: NodeStatus.STOPPED},
    ExecutionStatus.INTERRUPTED: {
        NodeStatus.PENDING: NodeStatus.INTERRUPTED,
        NodeStatus.RUNNING: NodeStatus.INTERRUPTED,
    },
}
"""What becomes of the nodes that have not ended when their execution ends."""


def find_execution(session: Session, execution_id: int, *, lock: bool = False) -> WorkflowExecutionRow:
    """The row of that id. Raises UnknownId, naming the newest ids."""
    row = session.get(WorkflowExecutionRow, execution_id, with_for_update=lock)
    if row is None:
        newest = select(WorkflowExecutionRow.id).order_by(WorkflowExecutionRow.id.desc()).limit(5)
        raise UnknownId("execution", execution_id, [str(one) for one in session.scalars(newest)])
    return row


def nodes_of(session: Session, execution_id: int) -> Sequence[NodeRunRow]:
    """The runs of an execution's nodes, in the order of the graph."""
    return session.scalars(
        select(NodeRunRow).where(NodeRunRow.execution_id == execution_id).order_by(NodeRunRow.id)
    ).all()


def set_status(
    session: Session, row: WorkflowExecutionRow, status: ExecutionStatus, actor: str | None, **more: Any
) -> None:
    """Change the status and the trail of events together."""
    before, row.status = row.status, status
    data = {"workflow_id": row.workflow_id, "from": before, "to": status, **more}
    events.record(session, "status", "execution", str(row.id), data, actor)


def set_node_status(session: Session, node: NodeRunRow, status: NodeStatus, actor: str | None) -> None:
    """As `set_status`, with the times of the node."""
    before, node.status = node.status, status
    if status == NodeStatus.RUNNING:
        node.started_at, node.completed_at = node.started_at or now(), None
    elif status == NodeStatus.PENDING:
        node.completed_at = None
    else:
        node.completed_at = now()
    data: dict[str, Any] = {"execution_id": node.execution_id, "node_id": node.node_id, "from": before, "to": status}
    events.record(
        session, "status", "node", str(node.id), {**data, **({"error": node.error} if node.error else {})}, actor
    )


def end(
    session: Session, row: WorkflowExecutionRow, status: ExecutionStatus, error: str | None, actor: str | None
) -> None:
    """End an execution and the nodes that have not ended."""
    nodes = nodes_of(session, row.id)
    for node in nodes:
        left = _LEFT[status].get(NodeStatus(node.status))
        if left is not None:
            set_node_status(session, node, left, actor)
    # of an interrupted run the last that is known of it is its heartbeat
    at = (row.heartbeat_at if status == ExecutionStatus.INTERRUPTED else None) or now()
    row.completed_at, row.error = at, error
    if row.started_at is not None:
        row.duration = max(dt.timedelta(), at - row.started_at).total_seconds()
    row.result = {"nodes": dict(Counter(str(node.status) for node in nodes))}
    set_status(session, row, status, actor, **({"error": error} if error else {}))


def come_back(session: Session, row: WorkflowExecutionRow) -> None:
    """Take back that an execution was interrupted: its process was only silent for a while."""
    row.error = row.completed_at = row.duration = row.result = None
    for node in nodes_of(session, row.id):
        if node.status == NodeStatus.INTERRUPTED:
            begun = NodeStatus.PENDING if node.started_at is None else NodeStatus.RUNNING
            set_node_status(session, node, begun, row.created_by)
    set_status(session, row, ExecutionStatus.RUNNING, row.created_by)
