"""`medfusion db`: the database's schema, backups and what comes back from them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from medfusion_jupyter.store.backup import back_up
from medfusion_jupyter.store.database import make_engine
from medfusion_jupyter.store.errors import StoreError
from medfusion_jupyter.store.location import database_url, home
from medfusion_jupyter.store.migrate import HEAD, downgrade, revision, upgrade
from medfusion_jupyter.store.restore import restore


def run(arguments: argparse.Namespace) -> int:
    """Carry out `medfusion db <action>`; returns the exit status, 1 with a line to stderr where the store refuses."""
    actions: dict[str, Callable[[Engine, argparse.Namespace], None]] = {
        "current": _current,
        "upgrade": _upgrade,
        "downgrade": _downgrade,
        "backup": _backup,
        "restore": _restore,
    }
    try:
        # not by open_store, which migrates
        engine = _engine(makes_new=arguments.action in ("upgrade", "restore"))
        try:
            actions[arguments.action](engine, arguments)
        finally:
            engine.dispose()
    except (StoreError, SQLAlchemyError, ImportError) as error:
        said = str(error) if isinstance(error, StoreError) else f"{database_word()}: {error}".splitlines()[0]
        print(f"medfusion db {arguments.action}: {said}", file=sys.stderr)
        return 1
    return 0


def database_word() -> str:
    """The database's URL without its password, or a word on why there is none."""
    try:
        return make_url(database_url()).render_as_string()
    except SQLAlchemyError:
        return "MEDFUSION_DATABASE_URL"


def _engine(*, makes_new: bool) -> Engine:
    url = make_url(database_url())
    file = url.database if url.get_backend_name() == "sqlite" else None
    if file and not makes_new and not Path(file).exists():
        raise StoreError(f"There is no database at {file} yet. MEDFUSION_HOME names another folder.")
    return make_engine(database_url())


def _current(engine: Engine, arguments: argparse.Namespace) -> None:
    found = revision(engine)
    print(f"database      {engine.url.render_as_string()}")
    print(f"its schema    {found or 'none: it is empty'}{' (up to date)' if found == HEAD else ''}")
    print(f"this version  {HEAD}")


def _upgrade(engine: Engine, arguments: argparse.Namespace) -> None:
    before = revision(engine)
    _say_saved(upgrade(engine))
    print(f"The database is at {HEAD}{' already' if before == HEAD else ''}.")


def _downgrade(engine: Engine, arguments: argparse.Namespace) -> None:
    _say_saved(downgrade(engine, arguments.revision))
    print(
        f"The database is at {revision(engine) or 'base'}. Install the version of medfusion-jupyter that it is for before "
        "the next start: this one would upgrade it again."
    )


def _say_saved(saved: Path | None) -> None:
    if saved is not None:
        print(f"Its rows were saved before: {saved}")


def _backup(engine: Engine, arguments: argparse.Namespace) -> None:
    made = back_up(engine, Path(arguments.file))
    size = made.path.stat().st_size / 1e6
    print(f"{made.path}: {sum(made.rows.values())} rows and {made.files} files, {size:.1f} MB.")
    if made.left_out:
        print(f"Left out, for their files are gone ({len(made.left_out)}):")
        for row in made.left_out:
            print(f"  {row}")


def _restore(engine: Engine, arguments: argparse.Namespace) -> None:
    back = restore(engine, Path(arguments.file).absolute())
    print(
        f"{sum(back.rows.values())} rows in {engine.url.render_as_string()} and {back.files} files in {home()}, at {HEAD}."
    )
    if not back.with_files:
        print(f"This backup is of rows alone: their files are looked for where they were, in {back.homes[0]}.")
    if back.without_images:
        print("A backup holds no images. Put these folders back before you train or predict with their cohorts:")
        for name, folder in back.without_images.items():
            print(f"  {name}: {folder}")
