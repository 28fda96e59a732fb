"""Brings a database to the schema of this version, by Alembic."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text

from medfusion_jupyter.store.errors import DatabaseTooNew

HEAD = "0002"
"""The newest migration; a test holds it to the scripts."""

SCRIPTS = Path(__file__).parent / "migrations"


def bring_up_to_date(engine: Engine) -> None:
    """Apply the migrations that the database lacks. Raises DatabaseTooNew where it was written by a newer version."""
    if revision(engine) == HEAD:
        return
    with _one_at_a_time(engine):
        found = revision(engine)
        if found == HEAD:
            return
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise DatabaseTooNew(engine.url.render_as_string(), found, HEAD)
        with engine.execution_options(medfusion_writes=True).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def revision(engine: Engine) -> str | None:
    """The migration that the database is at; None for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found


def _one_at_a_time(engine: Engine) -> AbstractContextManager[Any]:
    if engine.url.get_backend_name() != "sqlite":
        return nullcontext()  # there the migration is one transaction, and the second one fails without harm
    from filelock import FileLock

    return FileLock(f"{engine.url.database}.migrating", timeout=60)
