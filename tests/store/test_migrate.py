"""A database goes to another schema and back with its rows, and they are saved before."""

import shutil

import pytest
from sqlalchemy import inspect, text

from medfusion_jupyter.store import StoreError, migrate, open_store
from medfusion_jupyter.store.database import Store, make_engine
from medfusion_jupyter.store.errors import BadValue
from medfusion_jupyter.store.location import database_url
from medfusion_jupyter.store.migrate import HEAD, downgrade, lineage, revision, upgrade
from medfusion_jupyter.store.restore import restore

MODEL = {
    "path": "/p",
    "file_size": 1,
    "format": "f",
    "backbone": "b",
    "num_classes": 2,
    "input_shape": [],
    "metrics": {},
}
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9998"
down_revision = "{before}"

# on SQLite the table is made anew, as for any change but a new column
HOW = {{"table_kwargs": {{"sqlite_autoincrement": True}}}}


def upgrade():
    recreate = "always" if op.get_bind().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("models", recreate=recreate, **HOW) as table:
        table.add_column(sa.Column("note", sa.Text()))


def downgrade():
    recreate = "always" if op.get_bind().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("models", recreate=recreate, **HOW) as table:
        table.drop_column("note")
"""


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """From its call on, this is a version of MedFusion with one more migration."""

    def install(contents=NEXT):
        scripts = tmp_path / "migrations"
        shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        (scripts / "versions" / "9998_next.py").write_text(contents.format(before=HEAD))
        monkeypatch.setattr(migrate, "SCRIPTS", scripts)
        for module in ("migrate", "backup", "restore"):
            monkeypatch.setattr(f"medfusion_jupyter.store.{module}.HEAD", "9998")

    return install


@pytest.fixture
def filled(store):
    """A store with a model that an alias refers to, and with the id of a deleted model."""
    store.models.register("icu", **MODEL)
    store.models.set_alias("icu", "production", 1)
    with store.writing() as session:
        session.execute(text("UPDATE models SET model_path = '/q'"))
    store.models.register("gone", **MODEL)
    with store.writing() as session:
        session.execute(text("DELETE FROM models WHERE name = 'gone'"))
    return store


def told(store):
    return repr([store.models.list().items, store.events.list()])


def columns(engine):
    return {column["name"] for column in inspect(engine).get_columns("models")}


def test_a_new_database_is_made_without_a_backup(store, medfusion_home):
    assert not (medfusion_home / "backups").exists()


def test_the_first_start_of_a_newer_version_saves_the_rows_and_keeps_them(
    filled, next_version, medfusion_home, tmp_path, monkeypatch, request
):
    before = told(filled)
    next_version()
    newer = Store(filled.url)
    assert revision(newer.engine) == "9998"
    assert "note" in columns(newer.engine)
    # the new table of models did not take the aliases with it, nor forget which ids were given
    assert told(newer) == before
    assert newer.models.register("later", **MODEL).id == 3
    newer.close()
    (saved,) = (medfusion_home / "backups").glob("before-9998-*Z.tar")
    monkeypatch.setenv("MEDFUSION_HOME", str(tmp_path / "elsewhere"))
    if newer.engine.dialect.name == "postgresql":
        monkeypatch.setenv("MEDFUSION_DATABASE_URL", request.getfixturevalue("postgresql_server")())
    other = open_store()
    # the backup is of the older schema: it is restored as that, and brought to this one
    assert not restore(other.engine, saved).with_files
    assert told(other) == before
    assert revision(other.engine) == "9998"
    other.close()


def test_down_and_up_again_keeps_the_rows_and_saves_them_each_time(filled, next_version, medfusion_home):
    before = told(filled)
    next_version()
    engine = filled.engine
    first = upgrade(engine)
    second = downgrade(engine, HEAD)
    assert "note" not in columns(engine)
    assert (revision(engine), told(filled)) == (HEAD, before)
    third = upgrade(engine)
    assert (revision(engine), told(filled)) == ("9998", before)
    assert upgrade(engine) is None
    assert sorted([first, second, third]) == sorted((medfusion_home / "backups").iterdir())
    assert second.name.startswith(f"before-{HEAD}-")


def test_the_real_migrations_go_down_and_up_again(store):
    before = next(iter(lineage(HEAD)[1:]), "base")
    store.workflows.create("flow")
    saved = downgrade(store.engine, before)
    assert (revision(store.engine) or "base") == before
    upgrade(store.engine)
    assert revision(store.engine) == HEAD
    if before == "base":
        restore(store.engine, saved)
    assert [flow.name for flow in store.workflows.list().items] == ["flow"]


def test_a_migration_that_fails_leaves_the_database_as_it_was(filled, next_version):
    before = told(filled)
    next_version(
        NEXT.replace('table.add_column(sa.Column("note", sa.Text()))', 'op.execute("DROP TABLE models_of_none")')
    )
    with pytest.raises(Exception, match="models_of_none"):
        upgrade(filled.engine)
    assert (revision(filled.engine), told(filled)) == (HEAD, before)


def test_a_migration_that_leaves_rows_referring_to_nothing_is_taken_back(sqlite_store, next_version):
    sqlite_store.models.register("icu", **MODEL)
    sqlite_store.models.set_alias("icu", "production", 1)
    before = told(sqlite_store)
    next_version(NEXT.replace("    recreate =", '    op.execute("DELETE FROM models")\n    recreate ='))
    with pytest.raises(StoreError, match="model_aliases would refer to nothing"):
        upgrade(sqlite_store.engine)
    assert (revision(sqlite_store.engine), told(sqlite_store)) == (HEAD, before)
    with sqlite_store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_revision_that_does_not_lie_before_is_refused_with_those_that_do(store):
    for wrong in ("0999", HEAD[:2], "head"):
        with pytest.raises(BadValue, match=rf"{wrong}.*does not lie before.*base"):
            downgrade(store.engine, wrong)
    assert revision(store.engine) == HEAD


def test_an_empty_database_cannot_be_taken_back(either_database):
    engine = make_engine(database_url())
    with pytest.raises(BadValue, match="is empty"):
        downgrade(engine, "base")
    engine.dispose()


def test_every_id_is_counted_up_on_sqlite_after_all_migrations(sqlite_store):
    # a migration that makes a table anew must say so again
    with sqlite_store.engine.connect() as connection:
        tables = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")).all()
    counted = {name for name, sql in tables if "AUTOINCREMENT" in sql}
    from medfusion_jupyter.store.tables import Base

    assert counted == {name for name, table in Base.metadata.tables.items() if "id" in table.columns}
