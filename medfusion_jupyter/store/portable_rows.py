"""Rows of any schema of ours as JSON values that are the same from SQLite and from PostgreSQL.

Tables and types are read from the database, so that an older schema than the code's works too. Moments are ISO 8601 in UTC;
a JSON column is its text, which tells a JSON null from a NULL.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import JSON, Connection, DateTime, MetaData, Table, Text, bindparam, cast, inspect, literal, select

from medfusion_jupyter.store.migrate import VERSION_TABLE

BATCH = 2000


def reflected(connection: Connection, names: Collection[str]) -> list[Table]:
    """Those of the tables that are in the database, each after the tables that it refers to."""
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: name in names)
    return [table for table in metadata.sorted_tables if table.name in names]


def tables_with_rows(connection: Connection) -> list[str]:
    """Names of the tables in the database that are not empty, Alembic's own apart."""
    names = [name for name in inspect(connection).get_table_names() if name != VERSION_TABLE]
    one = select(literal(1)).limit(1)
    return [name for name in names if connection.scalar(one.select_from(Table(name, MetaData())))]


def read_rows(connection: Connection, table: Table) -> Iterator[list[Any]]:
    """The rows by primary key, each a list of JSON values in the order of the columns; not all are held at once."""
    columns = [cast(column, Text) if isinstance(column.type, JSON) else column for column in table.columns]
    query = select(*columns).order_by(*table.primary_key.columns)
    for row in connection.execute(query, execution_options={"yield_per": BATCH}):
        yield [_in_utc(value).isoformat() if isinstance(value, dt.datetime) else value for value in row]


def write_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows as `read_rows` gave them. Raises KeyError for a column that the table does not have."""
    values: dict[str, Any] = {}
    moments: dict[int, bool] = {}  # place of the column: whether the database keeps its zone
    for place, name in enumerate(columns):
        kind = table.columns[name].type
        if isinstance(kind, JSON):
            given = bindparam(f"value_{place}", type_=Text())
            # SQLite keeps JSON as text, and would take a cast to it for one to a number
            values[name] = given if connection.dialect.name == "sqlite" else cast(given, kind)
        else:
            values[name] = bindparam(f"value_{place}", type_=kind)
        if isinstance(kind, DateTime):
            moments[place] = kind.timezone
    statement = table.insert().values(values)
    waiting = iter(rows)
    while batch := [_bound(row, moments) for row in itertools.islice(waiting, BATCH)]:
        connection.execute(statement, batch)


def _bound(row: Sequence[Any], moments: dict[int, bool]) -> dict[str, Any]:
    bound = {f"value_{place}": value for place, value in enumerate(row)}
    for place, keeps_zone in moments.items():
        if row[place] is not None:
            moment = _in_utc(dt.datetime.fromisoformat(row[place]))
            bound[f"value_{place}"] = moment if keeps_zone else moment.replace(tzinfo=None)
    return bound


def _in_utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
