"""Keyset pages: a list whose cost does not grow with the table."""

from __future__ import annotations

import base64
import binascii
import json
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
    """Items in order, and the cursor of the page after them (None at the end)."""

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
    """A page of `query` in falling order of `key`, `limit` (1 to 500) at most, after the row that `cursor` names.

    A row of the query has an attribute named as the key, or is an entity that has it.
    """
    check_limit(limit)
    if cursor is not None:
        query = query.where(key < id_of(cursor))
    rows: Sequence[Any] = session.execute(query.order_by(key.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    last = getattr(rows[-1] if hasattr(rows[-1], key.key) else rows[-1][0], key.key) if rows else None
    return Page([to_item(row) for row in rows], str(last) if more else None)


def check_limit(limit: int) -> None:
    """Raise BadCursor for a page that is too long or has no item."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadCursor(f"limit={limit} is out of range: give 1 to {MAX_LIMIT}.")


def id_of(cursor: str) -> int:
    """The id in a cursor of `newest_first`. Raises BadCursor."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise _not_ours(cursor)
    return int(cursor)


def cursor_after(value: str | float, key: int) -> str:
    """The cursor of a list in order of (value, key), after that row."""
    return base64.urlsafe_b64encode(json.dumps([value, key]).encode()).decode()


def place_of(cursor: str, kind: type[str] | type[float]) -> tuple[Any, int]:
    """The value, of that kind, and the key in a cursor of `cursor_after`. Raises BadCursor."""
    try:
        value, key = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, TypeError, binascii.Error, UnicodeError):
        raise _not_ours(cursor) from None
    wanted: tuple[type, ...] = (str,) if kind is str else (int, float)
    if not isinstance(value, wanted) or type(key) is not int or not 0 < key < 2**63 or isinstance(value, bool):
        raise _not_ours(cursor)
    return value, key


def _not_ours(cursor: str) -> BadCursor:
    return BadCursor(f"cursor={cursor[:40]!r} is not one that a page of this list has handed out.")
