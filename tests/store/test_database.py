"""The database: made and migrated by itself, durable, safe between processes, refused when it cannot be right."""

import sqlite3
import subprocess
import sys
import textwrap

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from medfusion_jupyter.store import DatabaseTooNew, StoreError, location, open_store
from medfusion_jupyter.store.migrate import HEAD, SCRIPTS
from medfusion_jupyter.store.tables import Base


def test_it_is_made_under_the_home_with_the_pragmas_that_keep_it_safe(sqlite_store, medfusion_home):
    assert (medfusion_home / "medfusion.db").exists()
    with sqlite_store.engine.connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_the_migrations_make_the_tables_that_the_code_uses(store):
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == HEAD
        assert compare_metadata(context, Base.metadata) == []
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_second_opening_gives_the_same_store_and_a_new_process_finds_the_rows(store, new_job):
    assert open_store() is store
    job = new_job("kept")
    script = "from medfusion_jupyter.store import open_store; print(open_store().jobs.list().items[0].name)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == job.name


def test_a_database_of_a_newer_version_is_refused_and_untouched(sqlite_store, medfusion_home):
    sqlite_store.close()
    path = medfusion_home / "medfusion.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseTooNew, match=r"9999.*Upgrade medfusion-jupyter"):
        open_store(f"sqlite:///{path}?again=1".removesuffix("?again=1").replace("medfusion.db", "./medfusion.db"))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_file_that_is_no_database_is_an_error_that_names_it(tmp_path):
    (tmp_path / "notes.db").write_text("not a database at all, " * 100)
    with pytest.raises(StoreError, match=r"notes\.db"):
        open_store(f"sqlite:///{tmp_path}/notes.db")


def test_memory_is_refused():
    with pytest.raises(StoreError, match="lost with the process"):
        open_store("sqlite://")


def test_a_network_file_system_is_refused_the_log_with_a_word_on_postgresql(tmp_path, monkeypatch):
    monkeypatch.setattr("medfusion_jupyter.store.database.network_file_system", lambda folder: "nfs4")
    with pytest.warns(UserWarning, match=r"nfs4.*PostgreSQL"):
        store = open_store(f"sqlite:///{tmp_path}/shared.db")
    with store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "delete"
    store.close()


def test_the_kind_of_file_system_is_that_of_the_longest_mount(tmp_path, monkeypatch):
    class Mount:
        def __init__(self, mountpoint, fstype):
            self.mountpoint, self.fstype = mountpoint, fstype

    mounts = [Mount("/", "ext4"), Mount(str(tmp_path / "share"), "nfs4")]
    monkeypatch.setattr(location.psutil, "disk_partitions", lambda all: mounts)
    assert location.network_file_system(tmp_path / "share" / "me") == "nfs4"
    assert location.network_file_system(tmp_path / "share2") is None


def test_a_writer_that_is_killed_in_a_transaction_leaves_nothing_of_it(store, new_job):
    job = new_job()
    script = textwrap.dedent(
        f"""
        import os, signal
        from medfusion_jupyter.store import open_store
        from medfusion_jupyter.store.metrics import write_samples
        store = open_store()
        with store.writing() as session:
            write_samples(session, [({job.pk}, "m", step, 1.0) for step in range(1000)])
            session.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert store.metrics.names(job.job_id) == []
    store.writer.append(job.pk, "m", 1, 1.0)
    store.writer.flush()
    if store.engine.dialect.name == "postgresql":
        return
    with store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def test_many_processes_write_at_once_and_every_row_arrives(store, new_job):
    jobs = [new_job() for _ in range(4)]
    script = textwrap.dedent(
        """
        import sys
        from medfusion_jupyter.store import open_store
        store, pk, job_id = open_store(), int(sys.argv[1]), sys.argv[2]
        for step in range(2000):
            store.writer.append(pk, "m", step, step)
            if step % 100 == 0:
                store.writer.flush()
                store.jobs.request(job_id, "stop") if step == 1900 else store.models.register(
                    "shared", path="p", file_size=1, format="f", backbone="b", num_classes=2, input_shape=[], metrics={})
        """
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, str(job.pk), job.job_id]) for job in jobs]
    assert [worker.wait(120) for worker in workers] == [0] * 4
    for job in jobs:
        assert len(store.metrics.series(job.job_id, "m").steps) == 2000
    versions = [model.version for model in store.models.list(limit=500).items]
    assert sorted(versions) == list(range(1, 4 * 19 + 1))
