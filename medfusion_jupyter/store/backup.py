"""A backup of rows and files in one file, made while others read and write; `restore.py` brings it back."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, Table

from medfusion_jupyter.store import sequences
from medfusion_jupyter.store.archive import FOLDERS, ArchiveWriter, Manifest, below, delete_unfinished
from medfusion_jupyter.store.durable_files import TEMPORARY, write_durably
from medfusion_jupyter.store.errors import DatabaseTooNew, StoreError
from medfusion_jupyter.store.location import home
from medfusion_jupyter.store.migrate import HEAD, lineage, revision_of, table_names
from medfusion_jupyter.store.portable_rows import read_rows, reflected

PATH_COLUMNS = {
    # first what is soonest deleted: a running job keeps its last checkpoint alone
    "training_checkpoints": ("checkpoint_path",),
    "training_jobs": ("model_path", "checkpoint_path"),
    "models": ("model_path",),
    "datasets": ("data_path",),
}
"""Columns that name a file or folder, which may lie under the home."""


@dataclass(frozen=True)
class Backup:
    """What was written. rows: number by table; left_out: the rows whose files were gone before they could be copied."""

    path: Path
    revision: str
    rows: dict[str, int]
    files: int
    left_out: list[str]


@dataclass
class _Spool:
    """The rows of a table as the snapshot had them, in an unnamed file."""

    table: Table
    lines: IO[bytes]
    rows: int = 0


@dataclass
class _Named:
    """What the rows of the snapshot name under the home."""

    homes: list[str]
    paths: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in PATH_COLUMNS})
    jobs: set[str] = field(default_factory=set)

    def note(self, table: Table, row: list[Any]) -> None:
        for place, column in enumerate(table.columns):
            if column.name in PATH_COLUMNS.get(table.name, ()) and row[place] is not None:
                path = below(row[place], self.homes)
                if path is not None and path.parts[0] in FOLDERS:
                    self.paths[table.name].append(str(path))
            elif table.name == "training_jobs" and column.name == "job_id":
                self.jobs.add(row[place])


def back_up(engine: Engine, path: Path, *, with_files: bool = True) -> Backup:
    """Write the rows of the database, and the files under the home that they name, to a new file at `path`.

    The rows are those of one moment. A row whose file is deleted before it is copied is left out, as if the deletion had
    come first. What killed backups left in the folder of `path` is deleted. Raises StoreError where `path` is there
    already or cannot be written, and where there is nothing to save;
    DatabaseTooNew where a newer version of MedFusion wrote the database.
    """
    path = path.absolute()
    if path.exists():
        raise StoreError(f"{path} is there already, and no backup is written over: name another file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        delete_unfinished(path.parent)
        with ExitStack() as spooled:
            return _back_up(engine, path, with_files, spooled)
    except OSError as error:
        raise StoreError(f"The backup {path} cannot be written: {error}. Name a file elsewhere.") from error


def _back_up(engine: Engine, path: Path, with_files: bool, spooled: ExitStack) -> Backup:
    named = _Named(homes=list(dict.fromkeys([str(home()), str(home().resolve())])))
    # the transaction is as short as can be: the rows are put aside, and the files are copied after it
    with _snapshot(engine) as connection:
        revision = revision_of(connection)
        if revision is None:
            raise StoreError(f"There is nothing to save: the database {engine.url.render_as_string()} has no tables.")
        if revision not in lineage(HEAD):
            raise DatabaseTooNew(engine.url.render_as_string(), revision, HEAD)
        tables = reflected(connection, table_names(revision))
        spools = [_spool(connection, table, path.parent, spooled, named) for table in tables]
        given_ids = sequences.positions(connection)
    kept = _Kept(named.homes)

    def write(temporary: Path) -> None:
        archive = ArchiveWriter(temporary)
        try:
            if with_files:
                for relative in _to_carry(named):
                    _carry(archive, relative, kept)
            for spool in spools:
                lines = spool.lines
                if with_files and kept.may_leave_out(spool.table):
                    lines = _unnamed(path.parent, spooled)
                    kept.sift(spool, lines)
                archive.add_table(spool.table.name, lines)
            archive.finish(
                Manifest(
                    revision=revision,
                    homes=named.homes,
                    with_files=with_files,
                    columns={spool.table.name: [column.name for column in spool.table.columns] for spool in spools},
                    rows={spool.table.name: spool.rows for spool in spools},
                    given_ids=given_ids,
                    made_at=dt.datetime.now(dt.UTC).isoformat(),
                )
            )
        finally:
            archive.close()

    write_durably(path, write)
    rows = {spool.table.name: spool.rows for spool in spools}
    return Backup(path, revision, rows, len(kept.files), kept.left_out)


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # in SQLite, a transaction sees what it saw first
        with connection.begin():
            yield connection


def _spool(connection: Connection, table: Table, folder: Path, spooled: ExitStack, named: _Named) -> _Spool:
    spool = _Spool(table, _unnamed(folder, spooled))
    for row in read_rows(connection, table):
        named.note(table, row)
        spool.lines.write(_line(row))
        spool.rows += 1
    return spool


def _unnamed(folder: Path, spooled: ExitStack) -> IO[bytes]:
    # a file without a name is gone with the process, however that ends
    return spooled.enter_context(tempfile.TemporaryFile(dir=folder))


def _line(row: list[Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _to_carry(named: _Named) -> Iterator[str]:
    """Files and folders under the home, each once, those that rows name first."""
    for paths in named.paths.values():
        yield from reversed(paths)  # the newest first: of a running job
    # of other jobs' folders nothing is carried: they are younger than the snapshot, and their ids will be given again
    for job in sorted(named.jobs):
        yield f"jobs/{job}"
        yield f"models/{job}"
    yield "datasets"


class _Kept:
    """Which files were carried, and which rows can be kept for that."""

    def __init__(self, homes: list[str]) -> None:
        self.files: set[str] = set()
        self.left_out: list[str] = []
        self._whole: set[str] = set()
        self._broken: set[str] = set()
        self._homes = homes
        self._gone: dict[str, set[Any]] = defaultdict(set)

    def carried(self, relative: str) -> None:
        self.files.add(relative)
        self._whole.update(_and_above(relative))

    def vanished(self, relative: str) -> None:
        self._broken.update(_and_above(relative))

    def may_leave_out(self, table: Table) -> bool:
        """Whether rows of the table may have to go. Tables are asked in the order in which they refer to each other."""
        referred = {key.column.table.name for key in table.foreign_keys}
        return table.name in PATH_COLUMNS or any(self._gone.get(name) for name in referred)

    def sift(self, spool: _Spool, lines: IO[bytes]) -> None:
        """Write the rows that can be kept to `lines`, and count them."""
        spool.lines.seek(0)
        spool.rows = 0
        for line in spool.lines:
            row = json.loads(line)
            if self._keep(spool.table, row):
                lines.write(_line(row))
                spool.rows += 1

    def _keep(self, table: Table, row: list[Any]) -> bool:
        for place, column in enumerate(table.columns):
            if not self._is_dangling(table, column.name, row[place], column.foreign_keys):
                continue
            if column.nullable:
                row[place] = None
                continue
            keys = [row[list(table.columns).index(key)] for key in table.primary_key.columns]
            if len(keys) == 1:
                self._gone[table.name].add(keys[0])
            self.left_out.append(f"{table.name} {'/'.join(map(str, keys))}: {column.name} {row[place]}")
            return False
        return True

    def _is_dangling(self, table: Table, column: str, value: Any, foreign_keys: set[Any]) -> bool:
        if value is None:
            return False
        if column in PATH_COLUMNS.get(table.name, ()):
            path = below(value, self._homes)
            # a file elsewhere is not ours to carry, and its row stays as it is
            carried = path is None or path.parts[0] not in FOLDERS
            return not carried and (str(path) not in self._whole or str(path) in self._broken)
        return any(value in self._gone.get(key.column.table.name, ()) for key in foreign_keys)


def _and_above(relative: str) -> list[str]:
    parts = relative.split("/")
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def _carry(archive: ArchiveWriter, relative: str, kept: _Kept) -> None:
    """Copy the file, or the files of the folder, that are not carried yet."""
    top = home() / relative
    if not top.is_dir():
        _carry_file(archive, relative, kept)
        return
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            if not TEMPORARY.fullmatch(name):
                _carry_file(archive, (Path(folder) / name).relative_to(home()).as_posix(), kept)


def _carry_file(archive: ArchiveWriter, relative: str, kept: _Kept) -> None:
    if relative in kept.files:
        return
    try:
        if not stat.S_ISREG(os.stat(home() / relative).st_mode):
            return
        file = open(home() / relative, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        kept.vanished(relative)  # and with it the folder that it was a part of
        return
    with file:
        # files are replaced, never written into: what is open stays as it is
        archive.add_file(relative, file, os.fstat(file.fileno()).st_size)
    kept.carried(relative)
