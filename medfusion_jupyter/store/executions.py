"""Executions of workflows, as anyone sees them: made, listed, watched, asked to stop."""

from __future__ import annotations

import builtins
import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, IllegalTransition, InUse
from medfusion_jupyter.store.execution_moves import end, find_execution, nodes_of
from medfusion_jupyter.store.execution_record import Execution, ExecutionSummary, NodeRun
from medfusion_jupyter.store.execution_runs import ExecutionRuns
from medfusion_jupyter.store.job_queue import ring, this_queue
from medfusion_jupyter.store.job_runs import made_storable
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.people import current_person
from medfusion_jupyter.store.status import EXECUTION_ACTIVE, EXECUTION_FINISHED, ExecutionStatus, NodeStatus
from medfusion_jupyter.store.tables import JobRow, NodeRunRow, WorkflowExecutionRow, now
from medfusion_jupyter.store.texts import NAME_LENGTH, valid_text
from medfusion_jupyter.store.vanished import SILENT_SECONDS, Watch
from medfusion_jupyter.store.workflows import version_row, workflow_row

MOST_DEVICES = 64
"""As the setting of a training: what is above is no number of devices."""


class Executions(ExecutionRuns):
    """Repository of executions. What only the run that owns one may write is in `ExecutionRuns`."""

    def create(
        self, workflow_id: int, *, version: int | None = None, queued: bool = False, by: str | None = None
    ) -> Execution:
        """Store a pending execution of a workflow, with a pending run of each node.

        version: None is the newest; queued: a server of this host and home is to run it in a kernel of its own; by: its owner.
        Raises UnknownId, and BadValue where the graph has no nodes or nodes without an id of their own.
        """
        by = by or current_person()
        with self._store.writing() as session:
            workflow = workflow_row(session, workflow_id)
            saved = version_row(session, workflow, workflow.version if version is None else version)
            nodes = _node_ids(saved.nodes, f"version {saved.version} of the workflow {workflow.name!r}")
            row = WorkflowExecutionRow(
                workflow_id=workflow_id,
                version=saved.version,
                status=ExecutionStatus.PENDING,
                queue=this_queue() if queued else None,
                devices=_devices_of(saved.nodes),
                created_by=by,
            )
            session.add(row)
            session.flush()
            session.add_all(NodeRunRow(execution_id=row.id, node_id=node, status=NodeStatus.PENDING) for node in nodes)
            data = {"workflow_id": workflow_id, "version": saved.version, "queued": queued}
            events.record(session, "created", "execution", str(row.id), data, by)
            session.flush()
            made = Execution.of(row)
        if queued:
            ring()
        return made

    def get(self, execution_id: int) -> Execution:
        """The execution as it is now. Raises UnknownId, naming the newest ids."""
        self.mark_interrupted()
        with self._store.reading() as session:
            return Execution.of(find_execution(session, execution_id))

    def node_runs(self, execution_id: int) -> builtins.list[NodeRun]:
        """The runs of its nodes, in the order of the graph. Raises UnknownId."""
        with self._store.reading() as session:
            find_execution(session, execution_id)
            return [NodeRun.of(row) for row in nodes_of(session, execution_id)]

    def list(
        self,
        *,
        workflow_id: int | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Execution]:
        """Executions, newest first. Raises BadCursor for a bad limit or cursor."""
        self.mark_interrupted()
        query = select(WorkflowExecutionRow)
        if workflow_id is not None:
            query = query.where(WorkflowExecutionRow.workflow_id == workflow_id)
        if status is not None:
            query = query.where(WorkflowExecutionRow.status == status)
        with self._store.reading() as session:
            key = WorkflowExecutionRow.id
            return newest_first(
                session, query, key, limit=limit, cursor=cursor, to_item=lambda row: Execution.of(row[0])
            )

    def newest_of(self, workflow_ids: Sequence[int]) -> dict[int, ExecutionSummary]:
        """The newest execution of each of these workflows that was ever executed, by the id of the workflow."""
        self.mark_interrupted()
        row, node = WorkflowExecutionRow, NodeRunRow
        newest = select(func.max(row.id)).where(row.workflow_id.in_(workflow_ids)).group_by(row.workflow_id)
        with self._store.reading() as session:
            rows = session.scalars(select(row).where(row.id.in_(newest))).all()
            ids = [one.id for one in rows]
            counted = select(node.execution_id, node.status, func.count()).where(node.execution_id.in_(ids))
            nodes: dict[int, dict[str, int]] = defaultdict(dict)
            for execution_id, status, number in session.execute(counted.group_by(node.execution_id, node.status)):
                nodes[execution_id][status] = number
            return {one.workflow_id: ExecutionSummary.of(one, nodes[one.id]) for one in rows}

    def request_stop(self, execution_id: int, *, by: str | None = None) -> Execution:
        """Ask the run of an execution to stop, which stops the node at work; one that waits for its run is stopped here.

        Raises IllegalTransition where it has ended, NotYours for another person's.
        """
        by = by or current_person()
        self.mark_interrupted()
        with self._store.writing() as session:
            row = find_execution(session, execution_id, lock=True)
            self._store.refuse_stranger(row.created_by, by, f"execution {execution_id}")
            if row.status not in EXECUTION_ACTIVE:
                what = f"execution {execution_id}"
                raise IllegalTransition(what, current=row.status, wanted="stop", allowed=sorted(EXECUTION_ACTIVE))
            row.stop_requested_at = row.stop_requested_at or now()
            events.record(session, "command", "execution", str(row.id), {"command": "stop"}, by)
            if row.run_token is None:
                end(session, row, ExecutionStatus.STOPPED, None, by)
            session.flush()
            return Execution.of(row)

    def not_begun(self, execution_id: int, launched_at: dt.datetime | None, error: str) -> None:
        """Note that the kernel of a launched execution could not begin it; nothing happens where it has begun after all."""
        with self._store.writing() as session:
            row = find_execution(session, execution_id, lock=True)
            if row.run_token is None and row.status == ExecutionStatus.PENDING and row.launched_at == launched_at:
                end(session, row, ExecutionStatus.FAILED, made_storable(error), None)

    def mark_interrupted(self, older_than_seconds: float = SILENT_SECONDS) -> builtins.list[int]:
        """Mark the active executions whose process is gone; returns their ids. Whoever looks at executions calls this first."""
        with self._store.reading() as session:
            silent = _WATCH.silent(session, older_than_seconds)
        return _WATCH.mark(self._store, silent)

    def delete(self, execution_id: int, *, by: str | None = None) -> None:
        """Forget an execution that has ended, with the runs of its nodes. Raises InUse where a job came of it."""
        by = by or current_person()
        self.mark_interrupted()
        with self._store.writing() as session:
            row = find_execution(session, execution_id, lock=True)
            what = f"execution {execution_id}"
            self._store.refuse_stranger(row.created_by, by, what)
            if row.status in EXECUTION_ACTIVE:
                allowed = sorted(EXECUTION_FINISHED)
                raise IllegalTransition(what, current=row.status, wanted="delete", allowed=allowed)
            jobs = _jobs_of(session, execution_id)
            if jobs:
                raise InUse(what, [f"job {job}" for job in jobs])
            session.delete(row)
            events.record(session, "deleted", "execution", str(row.id), {"workflow_id": row.workflow_id}, by)


def _jobs_of(session: Session, execution_id: int) -> builtins.list[str]:
    of_execution = (JobRow.workflow_execution_id == execution_id, JobRow.fold.is_(None))
    query = select(JobRow.job_id).where(*of_execution).order_by(JobRow.id)
    return builtins.list(session.scalars(query))


def _node_ids(nodes: builtins.list[Any], what: str) -> builtins.list[str]:
    ids = [node.get("id") if isinstance(node, dict) else None for node in nodes]
    if not ids:
        raise BadValue(f"nodes: {what} has none, there is nothing to execute.")
    named = [valid_text("nodes", one, NAME_LENGTH) for one in ids if isinstance(one, str) and one]
    if len(set(named)) < len(ids):
        raise BadValue(f"nodes: {what} has nodes without an id of their own.")
    return named


def _devices_of(nodes: builtins.list[Any]) -> int:
    """As many devices as the node that takes the most; one node at a time computes on them."""
    settings = [node.get("settings") for node in nodes]
    asked = [one.get("devices") for one in settings if isinstance(one, dict)]
    return max([1, *(devices for devices in asked if type(devices) is int and devices <= MOST_DEVICES)])


def _interrupt(session: Session, row: WorkflowExecutionRow, news: str) -> int:
    end(session, row, ExecutionStatus.INTERRUPTED, news, None)
    return row.id


_WATCH = Watch(WorkflowExecutionRow, EXECUTION_ACTIVE, _interrupt)
