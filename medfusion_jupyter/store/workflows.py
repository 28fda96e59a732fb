"""Workflows: graphs of nodes under a name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import NameTaken, UnknownId
from medfusion_jupyter.store.job_record import moment
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.tables import WorkflowRow, WorkflowVersionRow

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
        created_by: str | None = None,
    ) -> Workflow:
        """Store a workflow and its first version. Raises NameTaken."""
        with self._store.writing() as session:
            if session.scalar(select(WorkflowRow.id).where(WorkflowRow.name == name)) is not None:
                raise NameTaken("workflow", name)
            graph = {"nodes": [dict(node) for node in nodes], "edges": [dict(edge) for edge in edges]}
            row = WorkflowRow(name=name, description=description, created_by=created_by, **graph)
            session.add(row)
            session.flush()
            session.add(WorkflowVersionRow(workflow_id=row.id, version=1, created_by=created_by, **graph))
            events.record(session, "created", "workflow", str(row.id), {"name": name}, created_by)
            session.flush()
            return Workflow.of(row)

    def get(self, workflow_id: int) -> Workflow:
        """The workflow with that id. Raises UnknownId."""
        with self._store.reading() as session:
            row = session.get(WorkflowRow, workflow_id)
            if row is None:
                newest = session.scalars(select(WorkflowRow.id).order_by(WorkflowRow.id.desc()).limit(5)).all()
                raise UnknownId("workflow", workflow_id, [str(one) for one in newest])
            return Workflow.of(row)

    def list(self, *, search: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[Workflow]:
        """Workflows, newest first. search: part of the name, in any case."""
        query = select(WorkflowRow)
        if search:
            query = query.where(WorkflowRow.name.icontains(search, autoescape=True))
        with self._store.reading() as session:
            return newest_first(
                session, query, WorkflowRow.id, limit=limit, cursor=cursor, to_item=lambda row: Workflow.of(row[0])
            )
