"""A database that can only be read is read, and refuses writes in words."""

import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event
from trouble import SETTINGS, Complaints, Other, is_sound, silent_job

from medfusion_jupyter.store import StoreError, open_store
from medfusion_jupyter.store.errors import DatabaseTrouble


def test_a_database_that_turns_read_only_is_read_and_refuses_writes_in_words(store, new_job, caplog, here):
    job = new_job(status="running")
    silent = silent_job(store, here)
    complaints = Complaints(caplog)
    if store.engine.dialect.name == "sqlite":

        def look_only(connection, *_):
            connection.execute("PRAGMA query_only = ON")

        event.listen(store.engine, "checkout", look_only)
    else:
        _of_server(store, "ALTER DATABASE {} SET default_transaction_read_only = on")
        store.engine.dispose()

    store.writer.append(job.pk, "m", 1, 1.0)
    for write in (
        lambda: store.jobs.create("another", **SETTINGS),
        lambda: store.jobs.update_status(job.job_id, "completed", run_token="t"),
        lambda: store.jobs.request(job.job_id, "stop"),
    ):
        with pytest.raises(DatabaseTrouble, match="not written"):
            write()
    assert complaints.first.wait(30)
    assert store.jobs.get(job.job_id) == job
    assert [one.status for one in store.jobs.list().items] == ["running", "running"]
    assert store.jobs.get(silent.job_id).status == "running"

    if store.engine.dialect.name == "sqlite":
        event.remove(store.engine, "checkout", look_only)
    else:
        _of_server(store, "ALTER DATABASE {} RESET default_transaction_read_only")
    store.engine.dispose()
    store.writer.flush()
    assert store.metrics.series(job.job_id, "m").values == [1.0]
    assert [event.kind for event in store.events.list()] == ["created", "status", "status"] * 2
    assert store.jobs.get(silent.job_id).status == "interrupted"
    assert len(complaints.lines) == 1


def _of_server(store, statement):
    url = store.engine.url
    with psycopg.connect(
        host=url.host, port=url.port, user=url.username, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(statement.format(url.database))


READ_ONLY = """
    import os, sys
    from medfusion_jupyter.store import StoreError, open_store
    open_store(f"sqlite:///{sys.argv[2]}/elsewhere.db")  # loads what is loaded late, which the other user may not see
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        store = open_store(f"sqlite:///{sys.argv[1]}/medfusion.db")
        print("read", [job.name for job in store.jobs.list().items])
        store.jobs.create("another", model_config={}, data_config={}, training_config={}, total_epochs=1,
                          watched_metric="m")
        print("written")
    except StoreError as error:
        print("refused", error)
    """


@pytest.mark.parametrize("there", ["database", "database in use", "empty folder"])
def test_a_folder_of_another_user_is_read_or_refused_in_words_and_stays_as_it_is(tmp_path, there, monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="medfusion-read-only-"))  # pytest's own cannot be entered by another user
    monkeypatch.setenv("MEDFUSION_HOME", str(folder))
    try:
        store = None
        if there != "empty folder":
            store = open_store(f"sqlite:///{folder}/medfusion.db")
            job = store.jobs.create("job", **SETTINGS)
            store.jobs.update_status(job.job_id, "stopped")
        if there == "database":
            store.close()
            assert [file.name for file in folder.iterdir() if "-" in file.name] == []
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        out = Other(READ_ONLY, folder, tmp_path).go_on().splitlines()
        assert out[-1].startswith("refused The database")
        assert "writable?" in out[-1]
        assert f"{folder}/medfusion.db" in out[-1]
        assert out[:-1] in ([], ["read ['job']"])
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
        if store is not None:
            store.close()
            assert is_sound(folder / "medfusion.db")
    finally:
        shutil.rmtree(folder)


def test_a_lock_of_the_migration_that_cannot_be_made_is_an_error_that_names_the_database(medfusion_home):
    (medfusion_home / "medfusion.db.migrating").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"medfusion\.db cannot be opened.*migrating"):
        open_store()
