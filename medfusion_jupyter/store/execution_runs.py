"""What the run that owns an execution writes. Every write names the run's token, so that no other writes in its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import IllegalTransition, RunReplaced, UnknownId
from medfusion_jupyter.store.execution_moves import come_back, end, find_execution, set_node_status, set_status
from medfusion_jupyter.store.execution_record import Execution, NodeRun
from medfusion_jupyter.store.job_runs import made_storable
from medfusion_jupyter.store.status import NODE_MOVES, ExecutionStatus, NodeStatus
from medfusion_jupyter.store.tables import NodeRunRow, WorkflowExecutionRow, WorkflowRow, now

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store

_ENDS = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.STOPPED})


class ExecutionRuns:
    """Claiming an execution and writing how it goes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(
        self,
        execution_id: int,
        *,
        run_token: str,
        host: str,
        pid: int,
        process_started: float,
        kernel_id: str | None,
        launched: bool = False,
    ) -> Execution:
        """Make `run_token` the owner of a pending execution, which runs then and counts among the workflow's.

        launched: by the kernel that a server started for it; any other run takes it out of its queue. Raises IllegalTransition
        where it is not pending, or is no longer the launched kernel's.
        """
        with self._store.writing() as session:
            row = find_execution(session, execution_id, lock=True)
            pending = row.status == ExecutionStatus.PENDING and row.run_token is None
            if not pending or (launched and row.launched_at is None):
                raise _not_allowed(row, "a run", [ExecutionStatus.PENDING])
            if not launched:
                row.queue = row.gpu = row.launched_at = None
            row.run_token, row.host, row.pid, row.kernel_id = run_token, host, pid, kernel_id
            row.process_started = process_started
            row.heartbeat_at = row.started_at = now()
            workflow = session.get(WorkflowRow, row.workflow_id, with_for_update=True)
            assert workflow is not None
            workflow.execution_count += 1
            workflow.last_executed_at = row.started_at
            set_status(session, row, ExecutionStatus.RUNNING, row.created_by)
            session.flush()
            return Execution.of(row)

    def move_node(
        self,
        execution_id: int,
        node_id: str,
        status: str,
        *,
        run_token: str,
        error: str | None = None,
    ) -> NodeRun:
        """Move a node on. Raises IllegalTransition for a move that its status does not allow, RunReplaced."""
        with self._store.writing() as session:
            execution, node = self._node(session, execution_id, node_id, run_token)
            if status not in NODE_MOVES.get(NodeStatus(node.status), frozenset()):
                allowed = sorted(state for state, moves in NODE_MOVES.items() if status in moves)
                raise IllegalTransition(f"node {node_id}", current=node.status, wanted=status, allowed=allowed)
            if error is not None:
                node.error = made_storable(error)
            set_node_status(session, node, NodeStatus(status), execution.created_by)
            session.flush()
            return NodeRun.of(node)

    def note_node(self, execution_id: int, node_id: str, output: Mapping[str, Any], *, run_token: str) -> None:
        """Keep the summary of what a node gives, in place of the one before. Raises RunReplaced."""
        with self._store.writing() as session:
            execution, node = self._node(session, execution_id, node_id, run_token)
            node.output = dict(output)
            # a preview may hold pictures: it is in the node's row, not in the trail
            told = {name: value for name, value in node.output.items() if name != "preview"}
            data = {"execution_id": execution_id, "node_id": node_id, "output": told}
            events.record(session, "noted", "node", str(node.id), data, execution.created_by)

    def finish(self, execution_id: int, status: str, *, run_token: str, error: str | None = None) -> Execution:
        """End a running execution as completed, failed or stopped. Raises IllegalTransition, RunReplaced."""
        with self._store.writing() as session:
            row = self._owned(session, execution_id, run_token)
            ended = ExecutionStatus(status)
            if ended not in _ENDS or row.status != ExecutionStatus.RUNNING:
                raise _not_allowed(row, status, [ExecutionStatus.RUNNING])
            end(session, row, ended, None if error is None else made_storable(error), row.created_by)
            session.flush()
            return Execution.of(row)

    def beat_in(self, session: Session, execution_id: int, run_token: str) -> Execution | None:
        """Heartbeat within a transaction; gives the execution as it is, None where it is another's or was deleted."""
        row = session.get(WorkflowExecutionRow, execution_id, with_for_update=True)
        if row is None or row.run_token != run_token:
            return None
        row.heartbeat_at = now()
        if row.status == ExecutionStatus.INTERRUPTED:
            come_back(session, row)
        return Execution.of(row)

    def _node(
        self, session: Session, execution_id: int, node_id: str, run_token: str
    ) -> tuple[WorkflowExecutionRow, NodeRunRow]:
        execution = self._owned(session, execution_id, run_token)
        query = select(NodeRunRow).where(NodeRunRow.execution_id == execution_id)
        node = session.scalars(query.where(NodeRunRow.node_id == node_id)).one_or_none()
        if node is None:
            there = session.scalars(query.order_by(NodeRunRow.id).limit(5)).all()
            raise UnknownId(f"node of execution {execution_id}", node_id, [one.node_id for one in there])
        return execution, node

    def _owned(self, session: Session, execution_id: int, run_token: str) -> WorkflowExecutionRow:
        row = find_execution(session, execution_id, lock=True)
        if row.run_token != run_token:
            raise RunReplaced(f"execution {execution_id}")
        if row.status == ExecutionStatus.INTERRUPTED:
            row.heartbeat_at = now()
            come_back(session, row)
        return row


def _not_allowed(row: WorkflowExecutionRow, wanted: str, allowed: list[ExecutionStatus]) -> IllegalTransition:
    return IllegalTransition(f"execution {row.id}", current=row.status, wanted=wanted, allowed=allowed)
