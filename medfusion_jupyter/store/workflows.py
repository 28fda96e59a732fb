"""Workflows: graphs of nodes under a name."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import Conflict, InUse, NameTaken, UnknownId
from medfusion_jupyter.store.job_record import moment
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.people import current_person
from medfusion_jupyter.store.search import contains
from medfusion_jupyter.store.status import EXECUTION_ACTIVE
from medfusion_jupyter.store.tables import JobRow, WorkflowExecutionRow, WorkflowRow, WorkflowVersionRow, now
from medfusion_jupyter.store.texts import valid_name, valid_text

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store


@dataclass(frozen=True)
class Workflow:
    """A row of `workflows`. nodes, edges: the graph as JSON; version: counts its saves."""

    id: int
    name: str
    description: str
    nodes: list[Any]
    edges: list[Any]
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime
    created_by: str | None
    execution_count: int
    last_executed_at: dt.datetime | None

    @classmethod
    def of(cls, row: WorkflowRow) -> Workflow:
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    def to_json(self) -> dict[str, Any]:
        return {k: moment(v) if isinstance(v, dt.datetime) else v for k, v in self.__dict__.items()}


@dataclass(frozen=True)
class WorkflowVersion:
    """One save of a workflow."""

    version: int
    nodes: list[Any]
    edges: list[Any]
    created_at: dt.datetime
    created_by: str | None

    @classmethod
    def of(cls, row: WorkflowVersionRow) -> WorkflowVersion:
        return cls(row.version, row.nodes, row.edges, row.created_at, row.created_by)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "created_at": moment(self.created_at)}


class Workflows:
    """Repository of workflows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str,
        *,
        nodes: Sequence[Mapping[str, Any]] = (),
        edges: Sequence[Mapping[str, Any]] = (),
        description: str = "",
        by: str | None = None,
    ) -> Workflow:
        """Store a workflow and its first version. Raises NameTaken, BadValue."""
        by = by or current_person()
        valid_name("name", name)
        valid_text("description", description)
        with self._store.writing() as session:
            if session.scalar(select(WorkflowRow.id).where(WorkflowRow.name == name)) is not None:
                raise NameTaken("workflow", name)
            graph = {"nodes": [dict(node) for node in nodes], "edges": [dict(edge) for edge in edges]}
            row = WorkflowRow(name=name, description=description, created_by=by, **graph)
            session.add(row)
            session.flush()
            session.add(WorkflowVersionRow(workflow_id=row.id, version=1, created_by=by, **graph))
            events.record(session, "created", "workflow", str(row.id), {"name": name}, by)
            session.flush()
            return Workflow.of(row)

    def get(self, workflow_id: int) -> Workflow:
        """The workflow with that id. Raises UnknownId."""
        with self._store.reading() as session:
            return Workflow.of(workflow_row(session, workflow_id))

    def get_by_name(self, name: str) -> Workflow:
        """The workflow of that name. Raises UnknownId with the newest names."""
        with self._store.reading() as session:
            row = session.scalars(select(WorkflowRow).where(WorkflowRow.name == name)).one_or_none()
            if row is None:
                newest = session.scalars(select(WorkflowRow.name).order_by(WorkflowRow.id.desc()).limit(5)).all()
                raise UnknownId("workflow", name, newest)
            return Workflow.of(row)

    def update(
        self,
        workflow_id: int,
        *,
        seen_version: int,
        name: str | None = None,
        description: str | None = None,
        nodes: Sequence[Mapping[str, Any]] | None = None,
        edges: Sequence[Mapping[str, Any]] | None = None,
        by: str | None = None,
    ) -> Workflow:
        """Save a workflow; what is None stays. Each save is a version that is kept.

        seen_version: the version that the change was made on. Raises Conflict where it is not the newest, NameTaken, NotYours.
        """
        by = by or current_person()
        with self._store.writing() as session:
            row = workflow_row(session, workflow_id)
            self._store.refuse_stranger(row.created_by, by, f"The workflow {row.name!r}")
            if row.version != seen_version:
                seen, current = f"version {seen_version}", f"version {row.version}"
                raise Conflict(f"The workflow {row.name!r}", seen=seen, now=current)
            if name is not None and name != row.name:
                if session.scalar(select(WorkflowRow.id).where(WorkflowRow.name == name)) is not None:
                    raise NameTaken("workflow", name)
                row.name = valid_name("name", name)
            if description is not None:
                row.description = valid_text("description", description)
            if nodes is not None:
                row.nodes = [dict(node) for node in nodes]
            if edges is not None:
                row.edges = [dict(edge) for edge in edges]
            self._save_version(session, row, by)
            events.record(session, "updated", "workflow", str(row.id), {"version": row.version}, by)
            session.flush()
            return Workflow.of(row)

    def versions(self, workflow_id: int) -> builtins.list[WorkflowVersion]:
        """Every save of a workflow, newest first. Raises UnknownId."""
        query = select(WorkflowVersionRow).where(WorkflowVersionRow.workflow_id == workflow_id)
        with self._store.reading() as session:
            workflow_row(session, workflow_id)
            rows = session.scalars(query.order_by(WorkflowVersionRow.version.desc()))
            return [WorkflowVersion.of(row) for row in rows]

    def version(self, workflow_id: int, version: int) -> WorkflowVersion:
        """One save of a workflow. Raises UnknownId with the versions there are."""
        with self._store.reading() as session:
            return WorkflowVersion.of(version_row(session, workflow_row(session, workflow_id), version))

    def restore(self, workflow_id: int, version: int, *, by: str | None = None) -> Workflow:
        """Save the graph of an earlier version as the newest one. Raises UnknownId with the versions there are, NotYours."""
        by = by or current_person()
        with self._store.writing() as session:
            row = workflow_row(session, workflow_id)
            self._store.refuse_stranger(row.created_by, by, f"The workflow {row.name!r}")
            old = version_row(session, row, version)
            row.nodes, row.edges = old.nodes, old.edges
            self._save_version(session, row, by)
            data = {"version": row.version, "from": version}
            events.record(session, "restored", "workflow", str(row.id), data, by)
            session.flush()
            return Workflow.of(row)

    def delete(self, workflow_id: int, *, by: str | None = None) -> None:
        """Forget a workflow with its versions and executions.

        Raises InUse where an execution of it is at work, or a job came of one.
        """
        by = by or current_person()
        with self._store.writing() as session:
            row = workflow_row(session, workflow_id)
            self._store.refuse_stranger(row.created_by, by, f"The workflow {row.name!r}")
            jobs = session.scalars(
                select(JobRow.job_id)
                .join(WorkflowExecutionRow, WorkflowExecutionRow.id == JobRow.workflow_execution_id)
                .where(WorkflowExecutionRow.workflow_id == workflow_id, JobRow.fold.is_(None))
            ).all()
            at_work = session.scalars(
                select(WorkflowExecutionRow.id).where(
                    WorkflowExecutionRow.workflow_id == workflow_id,
                    WorkflowExecutionRow.status.in_(sorted(EXECUTION_ACTIVE)),
                )
            ).all()
            if jobs or at_work:
                there = [f"job {job}" for job in jobs] + [f"the execution {one} at work" for one in at_work]
                raise InUse(f"The workflow {row.name!r}", there)
            session.delete(row)
            events.record(session, "deleted", "workflow", str(workflow_id), {"name": row.name}, by)

    def _save_version(self, session: Session, row: WorkflowRow, saved_by: str | None) -> None:
        row.version += 1
        row.updated_at = now()
        session.add(
            WorkflowVersionRow(
                workflow_id=row.id, version=row.version, nodes=row.nodes, edges=row.edges, created_by=saved_by
            )
        )

    def list(self, *, search: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[Workflow]:
        """Workflows, newest first. search: part of the name or description, in any case."""
        query = select(WorkflowRow)
        if search:
            query = query.where(or_(contains(WorkflowRow.name, search), contains(WorkflowRow.description, search)))
        with self._store.reading() as session:
            return newest_first(
                session, query, WorkflowRow.id, limit=limit, cursor=cursor, to_item=lambda row: Workflow.of(row[0])
            )


def workflow_row(session: Session, workflow_id: int) -> WorkflowRow:
    """The row of that id, locked. Raises UnknownId, naming the newest ids."""
    row = session.get(WorkflowRow, workflow_id, with_for_update=True)
    if row is None:
        newest = session.scalars(select(WorkflowRow.id).order_by(WorkflowRow.id.desc()).limit(5)).all()
        raise UnknownId("workflow", workflow_id, [str(one) for one in newest])
    return row


def version_row(session: Session, workflow: WorkflowRow, version: int) -> WorkflowVersionRow:
    """The row of one save. Raises UnknownId with the versions there are."""
    query = select(WorkflowVersionRow).where(WorkflowVersionRow.workflow_id == workflow.id)
    row = session.scalars(query.where(WorkflowVersionRow.version == version)).one_or_none()
    if row is None:
        there = session.scalars(query.order_by(WorkflowVersionRow.version.desc()).limit(5)).all()
        raise UnknownId(f"version of the workflow {workflow.name}", version, [str(one.version) for one in there])
    return row
