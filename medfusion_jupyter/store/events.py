"""What happened, in order: the audit trail and the change feed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store.job_record import moment
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.tables import EventRow
from medfusion_jupyter.store.texts import valid_text

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store


@dataclass(frozen=True)
class Event:
    """One change. kind: what was done (`created`, `status`, `command`, `epoch`, …); entity, entity_id: to what."""

    id: int
    at: dt.datetime
    kind: str
    entity: str
    entity_id: str
    data: dict[str, Any]
    actor: str | None

    @classmethod
    def of(cls, row: EventRow) -> Event:
        """From its row."""
        return cls(row.id, row.at, row.kind, row.entity, row.entity_id, row.data, row.actor)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "at": moment(self.at)}


def record(
    session: Session,
    kind: str,
    entity: str,
    entity_id: str,
    data: Mapping[str, Any] | None = None,
    actor: str | None = None,
) -> None:
    """Append an event within the transaction that makes the change."""
    session.add(EventRow(kind=kind, entity=entity, entity_id=entity_id, data=dict(data or {}), actor=actor))


class Events:
    """Reading of events; they are only ever appended, by the writes that they tell of."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last_id(self) -> int:
        """Id of the newest event, 0 where there is none."""
        with self._store.reading() as session:
            return session.scalar(select(func.max(EventRow.id))) or 0

    def list(
        self,
        after: int = 0,
        *,
        limit: int = 500,
        entity: str | None = None,
        entity_id: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> list[Event]:
        """Events with an id above `after` in the order they happened, `limit` at most; of all kinds, or of these."""
        query = select(EventRow).where(EventRow.id > after).order_by(EventRow.id).limit(limit)
        if entity is not None:
            query = query.where(EventRow.entity == entity)
        if entity_id is not None:
            query = query.where(EventRow.entity_id == entity_id)
        if kinds is not None:
            query = query.where(EventRow.kind.in_(sorted(kinds)))
        with self._store.reading() as session:
            return [Event.of(row) for row in session.scalars(query)]

    def page(
        self,
        *,
        entity: str | None = None,
        entity_id: str | None = None,
        actor: str | None = None,
        kind: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Event]:
        """Events, newest first: the audit trail. Each argument that is not None must be the event's own."""
        query = select(EventRow)
        wanted = {"entity": entity, "entity_id": entity_id, "actor": actor, "kind": kind}
        for column, value in wanted.items():
            if value is not None:
                query = query.where(getattr(EventRow, column) == valid_text(column, value))
        with self._store.reading() as session:
            return newest_first(
                session, query, EventRow.id, limit=limit, cursor=cursor, to_item=lambda row: Event.of(row[0])
            )
