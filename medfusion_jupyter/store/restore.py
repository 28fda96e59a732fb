"""Brings a backup into an empty database and home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from medfusion_jupyter.store import sequences
from medfusion_jupyter.store.archive import Archive, Manifest, below
from medfusion_jupyter.store.backup import PATH_COLUMNS
from medfusion_jupyter.store.dataset_files import CARD, place_of_images
from medfusion_jupyter.store.errors import BackupTooNew, StoreError
from medfusion_jupyter.store.location import home
from medfusion_jupyter.store.migrate import BASE, HEAD, alone, lineage, migrating, revision_of
from medfusion_jupyter.store.portable_rows import reflected, tables_with_rows, write_rows


@dataclass(frozen=True)
class Restored:
    """What was brought back. rows: number by table; with_files: False for a backup of rows alone; without_images: the
    cohorts whose folder of images is not on this machine, with that folder: a backup holds tables, no images."""

    revision: str
    rows: dict[str, int]
    files: int
    with_files: bool
    homes: list[str]
    without_images: dict[str, str]


def restore(engine: Engine, path: Path) -> Restored:
    """Bring the backup at `path` back, into an empty database and under the home, and up to this version's schema.

    The archive is verified first; then the files are written, and last all rows in one transaction: where this is killed,
    the database is still empty, and it can be run again. Rows name their files under the new home. Raises StoreError where
    the database has rows, or the home has other files in place of the archive's; BadArchive for a file that is no whole
    backup; BackupTooNew for one of a newer version.
    """
    with engine.connect() as connection:
        _refuse_rows(engine, connection)
    with closing(Archive(path)) as archive:
        manifest = archive.manifest
        if manifest.revision not in lineage(HEAD):
            raise BackupTooNew(path, manifest.revision, HEAD)
        try:
            _write_files(archive)
        except OSError as error:
            raise StoreError(
                f"The files of {path} cannot be written to {home()}: {error}. No row was restored."
            ) from error
        try:
            _write_all_rows(engine, archive)
        except (SQLAlchemyError, KeyError, ValueError, TypeError) as error:
            what = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StoreError(
                f"The rows of {path} do not go into {engine.url.render_as_string()}: {what}. No row was restored."
            ) from error
        files = archive.files()
        return Restored(
            manifest.revision, manifest.rows, len(files), manifest.with_files, manifest.homes, _without_images(files)
        )


def _refuse_rows(engine: Engine, connection: Connection) -> None:
    full = tables_with_rows(connection)
    if full:
        raise StoreError(
            f"The database {engine.url.render_as_string()} is not empty (rows in {', '.join(full)}), and nothing is restored "
            "over it. Set MEDFUSION_HOME, and MEDFUSION_DATABASE_URL where you use it, to a new place."
        )


def _write_files(archive: Archive) -> None:
    missing = []
    for relative in archive.files():
        target = home() / relative
        if not target.exists():
            missing.append(relative)
        elif not archive.is_copy(relative, target):  # a copy is of a restore that was killed
            raise StoreError(
                f"{target} is there already, with other contents than in {archive.path}: nothing is restored over it. "
                "Set MEDFUSION_HOME to a new place."
            )
    for relative in missing:
        archive.extract(relative, home() / relative)


def _without_images(files: list[str]) -> dict[str, str]:
    missing = {}
    for card in (Path(file) for file in files if Path(file).name == CARD):
        name, root = place_of_images(home() / card.parent)
        if root is not None and not root.is_dir():
            missing[name or card.parent.name] = str(root)
    return missing


def _write_all_rows(engine: Engine, archive: Archive) -> None:
    from alembic import command

    manifest = archive.manifest
    with alone(engine), migrating(engine) as (connection, config):
        _refuse_rows(engine, connection)  # now that nobody else writes
        if revision_of(connection) not in (None, manifest.revision):
            command.downgrade(config, BASE)
        command.upgrade(config, manifest.revision)
        tables = {table.name: table for table in reflected(connection, list(manifest.rows))}
        unknown = sorted(manifest.rows.keys() - tables.keys())
        if unknown:
            raise KeyError(f"no table {', '.join(unknown)} in schema {manifest.revision}")
        for name, table in tables.items():  # each after those that it refers to
            columns = manifest.columns[name]
            write_rows(connection, table, columns, _moved(archive.lines(name), name, columns, manifest))
        sequences.raise_to(connection, manifest.given_ids)
        command.upgrade(config, HEAD)


def _moved(rows: Iterator[list[Any]], table: str, columns: list[str], manifest: Manifest) -> Iterator[list[Any]]:
    """The rows, with paths under the old home led to the new one; without its files, they stay where they are."""
    places = [place for place, name in enumerate(columns) if name in PATH_COLUMNS.get(table, ())]
    for row in rows:
        for place in places if manifest.with_files else ():
            path = None if row[place] is None else below(row[place], manifest.homes)
            if path is not None:
                row[place] = str(home() / path)
        yield row
