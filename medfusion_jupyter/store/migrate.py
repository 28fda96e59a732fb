"""Moves a database between schemas, by Alembic: in one transaction, and not before its rows are saved."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, func, inspect, select, text

from medfusion_jupyter.store import sequences
from medfusion_jupyter.store.errors import BadValue, DatabaseTooNew, StoreError
from medfusion_jupyter.store.location import home

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0005"
"""The newest migration; a test holds it to the scripts."""
BASE = "base"
"""Alembic's word for the state before the first migration."""

SCRIPTS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version"
WRITE_LOCK = 0x6D656466
"""Key of the PostgreSQL advisory lock that writers hold."""

log = logging.getLogger("medfusion")


def bring_up_to_date(engine: Engine) -> None:
    """Apply the migrations that the database lacks. Raises DatabaseTooNew where it was written by a newer version."""
    if revision(engine) != HEAD:
        upgrade(engine)


def upgrade(engine: Engine) -> Path | None:
    """Bring the database to HEAD; returns the backup of its rows, or None where there was nothing to save or to do.

    Raises DatabaseTooNew where it was written by a newer version.
    """
    from alembic import command

    return _move(engine, HEAD, command.upgrade)


def downgrade(engine: Engine, target: str) -> Path | None:
    """Take the database back to the revision `target` or to `base`; returns the backup of its rows, as `upgrade` does.

    Raises BadValue for a revision that does not lie before the database's own, DatabaseTooNew as `upgrade`.
    """
    from alembic import command

    return _move(engine, target, command.downgrade)


def _move(engine: Engine, target: str, step: Callable[[Config, str], None]) -> Path | None:
    with alone(engine), migrating(engine) as (connection, config):
        found = revision_of(connection)
        if found is not None:
            if found not in lineage(HEAD):
                raise DatabaseTooNew(engine.url.render_as_string(), found, HEAD)
            if found == target:
                return None
        if target != HEAD:
            if found is None:
                raise BadValue("The database is empty: there is nothing to take back.")
            earlier = [*lineage(found)[1:], BASE]
            if target not in earlier:
                raise BadValue(
                    f"The database is at {found!r}: {target!r} does not lie before that. Choose {' or '.join(earlier)}."
                )
        saved = _save_rows(engine, connection, target)
        step(config, target)
    return saved


def _save_rows(engine: Engine, connection: Connection, target: str) -> Path | None:
    from medfusion_jupyter.store.portable_rows import tables_with_rows

    if not tables_with_rows(connection):
        return None
    from medfusion_jupyter.store.backup import back_up

    at = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S%fZ")
    path = home() / "backups" / f"before-{target}-{at}.tar"
    # nobody writes meanwhile, for `connection` holds the write lock: what is saved is what is migrated
    back_up(engine, path, with_files=False)
    log.info("The rows were saved to %s before the database goes to schema %s.", path, target)
    return path


@contextmanager
def migrating(engine: Engine) -> Iterator[tuple[Connection, Config]]:
    """One transaction with the write lock, and Alembic's configuration for it.

    Foreign keys are looked at when it ends, not before: on SQLite a changed table is made anew and the old one dropped, and
    that would delete every row that refers to it. Ids that were given stay given there too. Raises StoreError where rows
    are left that refer to nothing.
    """
    with engine.connect().execution_options(medfusion_writes=True) as connection:
        if engine.dialect.name != "sqlite":
            with connection.begin():
                connection.execute(select(func.pg_advisory_xact_lock(WRITE_LOCK)))
                yield connection, _config(connection)
            return
        sqlite: Any = connection.connection.driver_connection
        sqlite.execute("PRAGMA foreign_keys=OFF")  # does nothing within a transaction
        try:
            with connection.begin():
                given = sequences.positions(connection)
                yield connection, _config(connection)
                sequences.raise_to(connection, given)
                orphans = {row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
                if orphans:
                    raise StoreError(
                        f"Rows of {', '.join(sorted(orphans))} would refer to nothing: the database was left as it was."
                    )
        finally:
            sqlite.execute("PRAGMA foreign_keys=ON")


def revision(engine: Engine) -> str | None:
    """The migration that the database is at; None for an empty one."""
    with engine.connect() as connection:
        return revision_of(connection)


def revision_of(connection: Connection) -> str | None:
    """`revision`, as a transaction sees it."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def lineage(newest: str) -> list[str]:
    """The revision `newest` and those before it, newest first; empty for `base`."""
    from alembic.script import ScriptDirectory

    if newest == BASE:
        return []
    scripts = ScriptDirectory.from_config(_config(None))
    return [script.revision for script in scripts.iterate_revisions(newest, BASE)]


def table_names(at: str) -> list[str]:
    """The tables that the migrations up to the revision `at` make."""
    from alembic import command

    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        command.upgrade(_config(connection), at)
        names = inspect(connection).get_table_names()
    engine.dispose()
    return [name for name in names if name != VERSION_TABLE]


def alone(engine: Engine) -> AbstractContextManager[Any]:
    """No other process migrates the database meanwhile."""
    if engine.dialect.name != "sqlite":
        return nullcontext()  # there the write lock makes the second one wait, which then finds nothing to do
    from filelock import FileLock

    return FileLock(f"{engine.url.database}.migrating", timeout=60)


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
