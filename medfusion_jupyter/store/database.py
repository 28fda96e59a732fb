"""One database, opened once a process: engine, transactions, and the repositories over it."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.orm import Session

from medfusion_jupyter.store import search
from medfusion_jupyter.store.checkpoints import Checkpoints
from medfusion_jupyter.store.datasets import Datasets
from medfusion_jupyter.store.errors import BadValue, DatabaseTrouble, StoreError
from medfusion_jupyter.store.events import Events
from medfusion_jupyter.store.executions import Executions
from medfusion_jupyter.store.job_queue import JobQueue
from medfusion_jupyter.store.jobs import Jobs
from medfusion_jupyter.store.location import database_url, network_file_system
from medfusion_jupyter.store.metrics import Metrics
from medfusion_jupyter.store.migrate import WRITE_LOCK, bring_up_to_date
from medfusion_jupyter.store.models import Models
from medfusion_jupyter.store.people import configured_admins, refuse_stranger
from medfusion_jupyter.store.stored_files import recover
from medfusion_jupyter.store.tables import JobRow, ModelRow
from medfusion_jupyter.store.texts import storable
from medfusion_jupyter.store.workflows import Workflows
from medfusion_jupyter.store.write_behind import WriteBehind

log = logging.getLogger("medfusion")

BUSY_SECONDS = 10.0

_ADVICE = {
    " lock": "Another process holds it; try again when that has ended.",
    "readonly": "It can be read but not written: is its folder writable?",
    "read-only": "It can be read but not written.",
    "full": "Make room on its disk.",
    "no space": "Make room on its disk.",
}
"""What to do, by a word of what the database said."""


class Store:
    """All repositories over one database, and the `writer` of metrics."""

    def __init__(self, url: str) -> None:
        """Open and migrate the database at `url` (SQLAlchemy's form). Raises StoreError where it cannot be opened."""
        self.url = url
        self._name = make_url(url).render_as_string()
        self.engine = make_engine(url)
        self._writes = self.engine.execution_options(medfusion_writes=True)
        try:
            bring_up_to_date(self.engine)
        except (DatabaseError, OSError) as error:
            self.engine.dispose()
            raise StoreError(
                f"The database {self._name} cannot be opened: {getattr(error, 'orig', error)}. "
                "Is the folder writable? MEDFUSION_HOME names another one."
            ) from error
        self.admins = configured_admins()
        self.jobs = Jobs(self)
        self.queue = JobQueue(self)
        self.metrics = Metrics(self)
        self.checkpoints = Checkpoints(self)
        self.models = Models(self)
        self.datasets = Datasets(self)
        self.workflows = Workflows(self)
        self.executions = Executions(self)
        self.events = Events(self)
        self.writer = WriteBehind(self)
        try:
            recover(self._is_stored)
        except OSError as error:  # what is stored can be read nevertheless
            log.warning("What a killed deletion left in the trash could not be put back: %s", error)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that reads one state of the database. Raises DatabaseTrouble where it does not answer."""
        with self._trouble_in_words(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self, *, patience: float | None = None) -> Iterator[Session]:
        """A session that holds the write lock from its start, and commits at the end unless an exception leaves it.

        patience: seconds to wait for the lock at most, by default BUSY_SECONDS. Raises DatabaseTrouble where the database
        does not take it: nothing of it is there then.
        """
        with (
            self._trouble_in_words(),
            Session(self._writes_within(patience), expire_on_commit=False) as session,
            session.begin(),
        ):
            if self.engine.dialect.name == "postgresql":
                if patience is not None:
                    session.execute(select(func.set_config("lock_timeout", f"{round(patience * 1000)}ms", True)))
                # as in SQLite, one writer at a time: else a later event could be seen before an earlier one, and a reader
                # of the change feed would never see that
                session.execute(select(func.pg_advisory_xact_lock(WRITE_LOCK)))
            yield session

    def refuse_stranger(self, owner: str | None, by: str, what: str) -> None:
        """Raise NotYours where `by` neither owns `what` nor is one of `admins`."""
        refuse_stranger(owner, by, self.admins, what)

    @contextmanager
    def _trouble_in_words(self) -> Iterator[None]:
        try:
            yield
        except (DataError, OverflowError, UnicodeEncodeError) as error:
            # a NUL, half a character, a number that no column holds: each driver has its own error for it
            said = (str(getattr(error, "orig", error)).splitlines() or [""])[0]
            raise BadValue(f"A value can be neither stored nor looked for: {said}.") from error
        except (IntegrityError, ProgrammingError, NotSupportedError):
            raise  # of what was asked, not of the database
        except DatabaseError as error:
            said = (str(error.orig).splitlines() or [""])[0].rstrip(".")  # PostgreSQL adds the statement
            advice = next((advice for word, advice in _ADVICE.items() if word in said.lower()), "")
            raise DatabaseTrouble(
                f"The database {self._name} did not do its part: {said}. {advice}".rstrip()
            ) from error
        except StatementError as error:
            if isinstance(error.orig, StoreError):  # of a value in JSON, see `_json`
                raise error.orig from None
            raise

    def _writes_within(self, patience: float | None) -> Engine:
        return self._writes if patience is None else self._writes.execution_options(medfusion_patience=patience)

    def _is_stored(self, path: Path) -> bool:
        with self.reading() as session:
            job = select(JobRow.id).where(JobRow.job_id == path.name)
            model = select(ModelRow.id).where(ModelRow.model_path == str(path))
            return session.scalar(job if path.parent.name == "jobs" else model) is not None

    def close(self) -> None:
        """Commit what is pending and let go of the database."""
        self.writer.close()
        self.engine.dispose()


_stores: dict[tuple[str, int], Store] = {}
_opening = threading.Lock()


def open_store(url: str | None = None) -> Store:
    """The process's store at `url`; by default MEDFUSION_DATABASE_URL, or the SQLite file under MEDFUSION_HOME."""
    key = (url or database_url(), os.getpid())
    with _opening:
        store = _stores.get(key)
        if store is None:
            store = _stores[key] = Store(key[0])
        return store


def make_engine(url: str) -> Engine:
    """The engine of a database that is used as it is, without a migration. Raises StoreError as `Store` does."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return _server_engine(url)
    if not parsed.database or parsed.database == ":memory:":
        raise StoreError(
            "A database in memory is lost with the process; name a file, as in sqlite:////path/medfusion.db."
        )
    folder = Path(parsed.database).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The folder {folder} of the database cannot be made: {error}. Set MEDFUSION_HOME.") from error
    remote = network_file_system(folder)
    if remote is not None:
        warnings.warn(
            f"{folder} lies on a network file system ({remote}), where SQLite can neither use its write-ahead log nor be sure "
            "of its locks. Use it from one machine at a time, or set MEDFUSION_DATABASE_URL to a PostgreSQL database.",
            stacklevel=2,
        )
    engine = create_engine(
        url, json_serializer=_json, json_deserializer=from_json, connect_args={"timeout": BUSY_SECONDS}
    )
    file = _File(Path(parsed.database).absolute(), inodes_last=remote is None)

    @event.listens_for(engine, "do_connect")
    def look(*_: object) -> None:
        file.check()  # SQLite would make an empty file in its place

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA journal_mode={'DELETE' if remote else 'WAL'}")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()
        connection.create_function(search.LOWER, 1, search.lower, deterministic=True)
        file.opened()

    @event.listens_for(engine, "before_cursor_execute")
    def refuse_nul(_c: object, _cursor: object, _s: str, parameters: Any, _context: object, _m: bool) -> None:
        # as PostgreSQL does: SQLite would keep a text with a NUL, and find it by no search
        for row in parameters if parameters and isinstance(parameters[0], (tuple, list)) else (parameters,):
            for value in row:
                if type(value) is str and "\0" in value:
                    raise BadValue(f"{value[:40]!r} has a NUL character, which no database keeps.")

    @event.listens_for(engine, "commit")
    def commit(connection: Connection) -> None:
        if connection.get_execution_options().get("medfusion_writes", False):
            file.check()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # a transaction that reads first and writes later can fail at once on a busy database: writers lock at the start
        options = connection.get_execution_options()
        patience = options.get("medfusion_patience")
        if patience is None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("medfusion_writes", False) else "BEGIN")
            return
        connection.exec_driver_sql(f"PRAGMA busy_timeout={round(patience * 1000)}")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={round(BUSY_SECONDS * 1000)}")

    return engine


def _server_engine(url: str) -> Engine:
    engine = create_engine(url, json_serializer=_json, json_deserializer=from_json, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # as in SQLite, who waits for a lock is told after a while; else a writer that hangs would hang all others
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {round(BUSY_SECONDS * 1000)}")
        connection.commit()

    return engine


class _File:
    """The file of a database, which may be removed or replaced while it is open: what is written then is lost silently."""

    def __init__(self, path: Path, *, inodes_last: bool) -> None:
        self._path = path
        self._inodes_last = inodes_last
        self._opened: tuple[int, int] | None = None

    def opened(self) -> None:
        """Note which file it is, at the first connection."""
        self._opened = self._opened or self._identity()

    def check(self) -> None:
        """Raise StoreError where the path no longer names the file that was opened."""
        if self._opened is not None and self._identity() != self._opened:
            raise StoreError(
                f"The database file {self._path} was removed or replaced while it was in use; nothing is written to it. "
                "Put it back, or restart this process to begin with the one that is there."
            )

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        # some network file systems make inode numbers up anew
        return (found.st_dev, found.st_ino) if self._inodes_last else (0, 0)


def _json(value: object) -> str:
    return json.dumps(_kept(value), allow_nan=False, separators=(",", ":"))


def _kept(value: Any) -> Any:
    """JSON has no NaN: it is stored as null. Raises BadValue for a text that no database keeps."""
    if isinstance(value, str):
        return storable("A text in JSON", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {storable("A name in JSON", str(k)): _kept(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(v) for v in value]
    return value
