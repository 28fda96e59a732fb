"""Keyset pages: a list whose cost does not grow with the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from medfusion_jupyter.store.errors import BadValue

Item = TypeVar("Item")
MAX_LIMIT = 500


class BadCursor(BadValue):
    """A page that cannot be given: a cursor that no page has handed out, or a limit out of range."""


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Items, newest first, and the cursor of the page after them (None at the end)."""

    items: list[Item]
    next: str | None


def newest_first(
    session: Session,
    query: Select[Any],
    key: InstrumentedAttribute[int],
    *,
    limit: int,
    cursor: str | None,
    to_item: Callable[[Any], Item],
) -> Page[Item]:
    """A page of `query` in falling order of `key`, `limit` (1 to 500) at most, after the row that `cursor` names."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadCursor(f"limit={limit} is out of range: give 1 to {MAX_LIMIT}.")
    if cursor is not None:
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise BadCursor(f"cursor={cursor[:40]!r} is not one that a page has handed out.")
        query = query.where(key < int(cursor))
    rows: Sequence[Any] = session.execute(query.order_by(key.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    last = getattr(rows[-1][0], key.key) if rows else None
    return Page([to_item(row) for row in rows], str(last) if more else None)
