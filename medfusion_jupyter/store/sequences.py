"""Which ids were given last: the id of a deleted row is never given again, in a copy of the database neither."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, inspect, text


def positions(connection: Connection) -> dict[str, int]:
    """The highest id that each table ever gave, 0 for none yet; only tables that count their ids up."""
    if connection.dialect.name == "sqlite":
        if not _counts(connection):
            return {}
        rows = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
        return {row.name: row.seq for row in rows}
    found = {}
    for table, sequence in _sequences(connection).items():
        last, is_called = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
        found[table] = last if is_called else 0
    return found


def raise_to(connection: Connection, given: Mapping[str, int]) -> None:
    """Let the next id of each table be above `given`. Tables that are not there are passed over."""
    now = positions(connection)
    behind = {table: last for table, last in given.items() if last > now.get(table, 0)}
    if connection.dialect.name == "sqlite":
        there = set(inspect(connection).get_table_names())
        for table in sorted(behind.keys() & there):
            bound = {"name": table, "last": behind[table]}
            if table in now:
                connection.execute(text("UPDATE sqlite_sequence SET seq = :last WHERE name = :name"), bound)
            else:
                connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), bound)
        return
    for table, sequence in _sequences(connection).items():
        if table in behind:
            bound = {"sequence": sequence, "last": behind[table]}
            connection.execute(text("SELECT setval(CAST(:sequence AS regclass), :last, true)"), bound)


def _counts(connection: Connection) -> bool:
    # SQLite makes this table together with the first that counts
    query = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
    return bool(connection.exec_driver_sql(query).scalar())


def _sequences(connection: Connection) -> dict[str, str]:
    inspector = inspect(connection)
    found = {}
    for table in inspector.get_table_names():
        key = inspector.get_pk_constraint(table)["constrained_columns"]
        if len(key) == 1:
            quoted = connection.dialect.identifier_preparer.quote(table)
            query = text("SELECT pg_get_serial_sequence(:table, :column)")
            sequence = connection.execute(query, {"table": quoted, "column": key[0]}).scalar()
            if sequence is not None:
                found[table] = sequence
    return found
