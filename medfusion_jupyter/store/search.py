"""What a search finds, alike on every database.

SQLite by itself knows the case of ASCII letters only, PostgreSQL that of its locale.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, String, exists, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from medfusion_jupyter.store.texts import NAME_LENGTH, TAG_LENGTH, valid_text

LOWER = "medfusion_lower"


def contains(column: ColumnElement[str] | InstrumentedAttribute[str], search: str) -> ColumnElement[bool]:
    """Rows whose `column` holds `search`, in any case; no character of it is a wildcard. Raises BadValue."""
    (kind, text), *_ = wanted(search).items()
    return holds(column, kind, text)


def wanted(search: str) -> dict[str, str]:
    """One of the kinds of `holds`, and the text for it. Raises BadValue."""
    valid_text("search", search, NAME_LENGTH)
    escaped = search.replace("/", "//").replace("%", "/%").replace("_", "/_")
    # every database folds ASCII by itself, and faster
    return {"ascii": escaped} if search.isascii() else {"folded": escaped.lower()}


def holds(
    column: ColumnElement[str] | InstrumentedAttribute[str], kind: str, text: str | BindParameter[str]
) -> ColumnElement[bool]:
    """Rows whose `column` holds the text that `wanted` gave for that kind; it may be given when the query is executed."""
    return (column.icontains if kind == "ascii" else _Lower(column).contains)(text, escape="/")


def has_tag(tags: InstrumentedAttribute[list[Any]], tag: str) -> ColumnElement[bool]:
    """Rows whose JSON list of texts holds `tag`, in any case. Raises BadValue."""
    valid_text("tag", tag, TAG_LENGTH)
    held = _Texts(tags).table_valued("value")
    return exists(select(1).select_from(held).where(_Lower(held.c.value) == tag.lower()))


def lower(text: object) -> object:
    """LOWER for SQLite. A value that is no text stays."""
    return text.lower() if isinstance(text, str) else text


class _Lower(FunctionElement[str]):
    """A text in small letters, of every alphabet."""

    type = String()
    inherit_cache = True


@compiles(_Lower, "sqlite")
def _lower_in_sqlite(element: _Lower, compiler: SQLCompiler, **how: Any) -> str:
    return f"{LOWER}({compiler.process(element.clauses, **how)})"


@compiles(_Lower, "postgresql")
def _lower_in_postgresql(element: _Lower, compiler: SQLCompiler, **how: Any) -> str:
    # by Unicode, whatever the locale of the database: that of a container is often C
    return f'lower(({compiler.process(element.clauses, **how)}) COLLATE "und-x-icu")'


class _Texts(FunctionElement[Any]):
    """The texts of a JSON list as the rows of a table with a column `value`."""

    inherit_cache = True


@compiles(_Texts, "sqlite")
def _texts_in_sqlite(element: _Texts, compiler: SQLCompiler, **how: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **how)})"


@compiles(_Texts, "postgresql")
def _texts_in_postgresql(element: _Texts, compiler: SQLCompiler, **how: Any) -> str:
    return f"json_array_elements_text({compiler.process(element.clauses, **how)})"
