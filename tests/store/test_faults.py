"""What goes wrong around the store: locks, full disks, killed writers, servers and files that go away.

Nothing is lost silently, and nothing is half written.
"""

import datetime as dt
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from postgresql import Server
from sqlalchemy import event

from medfusion_jupyter.store import StoreError, open_store
from medfusion_jupyter.store.database import WRITE_LOCK
from medfusion_jupyter.store.errors import BadValue, DatabaseTrouble
from medfusion_jupyter.store.tables import JobRow, now

SETTINGS = {"model_config": {}, "data_config": {}, "training_config": {}, "total_epochs": 1, "watched_metric": "m"}


class Other:
    """Another process: it runs `script`, which prints `ready` and then reads a line before it goes on."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def go_on(self):
        """Let it go on, and wait for its end; what it printed."""
        out, _ = self.process.communicate("go\n", timeout=60)
        assert self.process.returncode == 0
        return out

    def kill(self):
        self.process.kill()
        self.process.communicate()


def _hold_sqlite(path, statement="BEGIN EXCLUSIVE"):
    return Other(
        """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute(sys.argv[2])
        print("ready", flush=True)
        sys.stdin.readline()
        connection.execute("ROLLBACK")
        """,
        path,
        statement,
    )


def _hold_postgresql(url, statement):
    return Other(
        """
        import psycopg, sys
        with psycopg.connect(sys.argv[1].replace("+psycopg", "")) as connection:
            connection.execute(sys.argv[2])
            print("ready", flush=True)
            sys.stdin.readline()
        """,
        url,
        statement,
    )


def _is_sound(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class Complaints:
    """What the writer logs; `first` is set at the first complaint."""

    def __init__(self, caplog):
        self.first = threading.Event()
        self.lines = []
        caplog.handler.addFilter(self)

    def filter(self, record):
        if "tried again" in record.getMessage():
            self.lines.append(record.getMessage())
            self.first.set()
        return True


# --- a lock that another process holds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("either_database", "lock"),
    [
        ("sqlite", "BEGIN EXCLUSIVE"),
        ("postgresql", f"SELECT pg_advisory_lock({WRITE_LOCK})"),
        ("postgresql", "LOCK TABLE job_metrics, training_jobs"),
    ],
    indirect=["either_database"],
)
def test_what_is_appended_while_another_process_locks_the_database_is_all_there(
    either_database, lock, monkeypatch, medfusion_home, caplog
):
    monkeypatch.setattr("medfusion_jupyter.store.database.BUSY_SECONDS", 0.2)
    store = open_store()
    job = store.jobs.create("job", **SETTINGS)
    complaints = Complaints(caplog)
    other = (
        _hold_sqlite(medfusion_home / "medfusion.db", lock)
        if either_database == "sqlite"
        else _hold_postgresql(store.url, lock)
    )
    # an `append` that waited for the database would wait for ever: the other lets go only after it
    for step in range(10_000):
        store.writer.append(job.pk, "m", step, 1.0)
    assert complaints.first.wait(30)
    with pytest.raises(DatabaseTrouble, match=r"lock.*try again"):
        store.jobs.create("not now", **SETTINGS)
    flushed = threading.Thread(target=store.writer.flush)
    flushed.start()
    assert other.go_on() == ""
    flushed.join(60)
    assert not flushed.is_alive()
    assert store.metrics.series(job.job_id, "m").steps == list(range(10_000))
    assert [job.name for job in store.jobs.list().items] == ["job"]
    store.close()


def test_a_lock_held_for_longer_than_the_patience_of_sqlite_loses_nothing(sqlite_store, medfusion_home, caplog):
    job = sqlite_store.jobs.create("job", **SETTINGS)
    complaints = Complaints(caplog)
    other = _hold_sqlite(medfusion_home / "medfusion.db")
    sqlite_store.writer.append(job.pk, "m", 1, 1.0)
    # the first complaint comes when SQLite has waited its 10 seconds
    assert complaints.first.wait(60)
    sqlite_store.writer.append(job.pk, "m", 2, 2.0)
    other.go_on()
    sqlite_store.writer.flush()
    assert sqlite_store.metrics.series(job.job_id, "m").values == [1.0, 2.0]


def test_who_looks_at_jobs_of_a_locked_database_is_answered_at_once_and_the_dead_are_marked_later(
    either_database, monkeypatch, medfusion_home, here
):
    monkeypatch.setattr("medfusion_jupyter.store.database.BUSY_SECONDS", 120)
    store = open_store()
    job = _silent_job(store, here)
    other = (
        _hold_sqlite(medfusion_home / "medfusion.db")
        if either_database == "sqlite"
        else _hold_postgresql(store.url, f"SELECT pg_advisory_lock({WRITE_LOCK})")
    )
    looks = (lambda: [store.jobs.get(job.job_id)], lambda: store.jobs.list().items, store.jobs.active)
    with ThreadPoolExecutor() as threads:
        try:
            for look in looks:
                # long before a write would have given the lock up
                assert [one.status for one in threads.submit(look).result(30)] == ["running"]
        finally:
            other.go_on()
    assert store.jobs.get(job.job_id).status == "interrupted"
    store.close()


def _silent_job(store, here):
    """A job whose process has not been heard of for an hour."""
    job = store.jobs.create("job", **SETTINGS)
    store.jobs.claim(job.job_id, run_token="t", **here)
    for status in ("initializing", "running"):
        store.jobs.update_status(job.job_id, status, run_token="t")
    with store.writing() as session:
        session.get(JobRow, job.pk).heartbeat_at = now() - dt.timedelta(hours=1)
    return job


# --- a database that can be read only ----------------------------------------------------------------------------------


def test_a_database_that_turns_read_only_is_read_and_refuses_writes_in_words(store, new_job, caplog, here):
    job = new_job(status="running")
    silent = _silent_job(store, here)
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
            assert _is_sound(folder / "medfusion.db")
    finally:
        shutil.rmtree(folder)


def test_a_lock_of_the_migration_that_cannot_be_made_is_an_error_that_names_the_database(medfusion_home):
    (medfusion_home / "medfusion.db.migrating").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"medfusion\.db cannot be opened.*migrating"):
        open_store()


# --- a full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A disk of 2 MB with the store's home on it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    monkeypatch.setenv("MEDFUSION_HOME", str(folder))
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_keeps_the_samples_complains_once_and_goes_on_when_there_is_room(small_disk, caplog):
    store = open_store()
    job = store.jobs.create("job", **SETTINGS)
    complaints = Complaints(caplog)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(b"x" * 4_000_000)
    tried = threading.Semaphore(0)
    event.listen(store.engine, "checkin", lambda *_: tried.release())
    for step in range(5_000):
        store.writer.append(job.pk, "m", step, 1.0)
    for _ in range(3):
        assert tried.acquire(timeout=30)
    assert complaints.first.wait(30)
    with pytest.raises(DatabaseTrouble, match=r"full.*Make room"):
        store.jobs.create("large", **{**SETTINGS, "model_config": {"large": "x" * 100_000}})
    (small_disk / "ballast").unlink()
    store.writer.flush()
    assert store.metrics.series(job.job_id, "m").steps == list(range(5_000))
    assert [job.name for job in store.jobs.list().items] == ["job"]
    assert len(complaints.lines) == 1
    store.jobs.create("again", **SETTINGS)
    store.close()
    assert _is_sound(small_disk / "medfusion.db")


def test_a_file_that_may_not_grow_keeps_the_samples_until_it_may(medfusion_home):
    """The same without a mount: the limit of a process on the size of its files, in a process of its own."""
    out = Other(
        """
        import logging, resource, signal, sys, threading
        from medfusion_jupyter.store import open_store
        from medfusion_jupyter.store.errors import DatabaseTrouble
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = open_store()
        job = store.jobs.create("job", model_config={}, data_config={}, training_config={}, total_epochs=1,
                                watched_metric="m")
        complained = threading.Event()
        class Handler(logging.Handler):
            def emit(self, record):
                complained.set()
        logging.getLogger("medfusion").addHandler(Handler())
        print("ready", flush=True)
        sys.stdin.readline()
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, unlimited))
        for step in range(50_000):
            store.writer.append(job.pk, "m", step, 1.0)
        assert complained.wait(30)
        resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
        store.writer.flush()
        print(len(store.metrics.series(job.job_id, "m").steps))
        store.close()
        """
    ).go_on()
    assert out == "50000\n"
    assert _is_sound(medfusion_home / "medfusion.db")


# --- a writer that is killed -------------------------------------------------------------------------------------------


def test_a_writer_killed_in_its_transaction_leaves_nothing_and_others_write_at_once(store, new_job):
    job = new_job(status="running")
    before = store.jobs.get(job.job_id), store.events.list()
    other = Other(
        """
        import sys
        from medfusion_jupyter.store import events, open_store
        from medfusion_jupyter.store.metrics import write_samples
        from medfusion_jupyter.store.tables import JobRow
        store = open_store()
        with store.writing() as session:
            pk = int(sys.argv[1])
            # more than the cache of SQLite holds: part of it is on the disk already
            write_samples(session, [(pk, "m" * 100, step, 1.0) for step in range(50_000)])
            session.get(JobRow, pk).name = "half written"
            events.record(session, "status", "job", "job_0001", {})
            session.flush()
            print("ready", flush=True)
            sys.stdin.readline()
        """,
        job.pk,
    )
    assert (store.jobs.get(job.job_id), store.events.list()) == before
    other.kill()
    # at once: a lock left behind would be met with DatabaseTrouble after BUSY_SECONDS, and nothing here tries again
    store.jobs.update_status(job.job_id, "completed", run_token="t")
    assert store.metrics.names(job.job_id) == []
    assert store.jobs.get(job.job_id).name == job.name
    assert [event.kind for event in store.events.list()] == [event.kind for event in before[1]] + ["status"]
    if store.engine.dialect.name == "sqlite":
        assert _is_sound(store.engine.url.database)


# --- a server that goes away and comes back ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_restarted_under_load_loses_nothing_and_is_found_again(mode, monkeypatch):
    with Server() as server:
        monkeypatch.setenv("MEDFUSION_DATABASE_URL", server.database())
        store = open_store()
        job = store.jobs.create("job", **SETTINGS)
        ended, appended, read = threading.Event(), [], threading.Event()
        unexpected = []

        def append():
            while not ended.is_set():
                appended.append(len(appended))
                store.writer.append(job.pk, "m", appended[-1], float(appended[-1]))
                ended.wait(0.0001)

        def look():
            while not ended.is_set():
                try:
                    assert [job.name for job in store.jobs.list().items] == ["job"]
                    read.set()
                except StoreError:
                    pass  # while it is away
                except BaseException as error:
                    unexpected.append(error)

        threads = [threading.Thread(target=append), threading.Thread(target=look)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            read.clear()
            assert read.wait(30)
            server.restart(mode)
            store.writer.flush()
        read.clear()
        assert read.wait(30)
        ended.set()
        for thread in threads:
            thread.join(30)
        store.writer.flush()
        assert unexpected == []
        assert store.metrics.series(job.job_id, "m").steps == appended
        assert store.jobs.create("afterwards", **SETTINGS).name == "afterwards"
        store.close()


def test_a_restart_that_nobody_noticed_is_no_trouble_to_the_next_who_asks(monkeypatch):
    with Server() as server:
        monkeypatch.setenv("MEDFUSION_DATABASE_URL", server.database())
        store = open_store()
        for name in ("first", "second", "third"):
            assert store.jobs.create(name, **SETTINGS).name == store.jobs.list().items[0].name == name
            server.restart("fast")
        store.close()


def test_while_its_server_is_away_the_store_says_so_and_samples_wait(monkeypatch):
    with Server() as server:
        monkeypatch.setenv("MEDFUSION_DATABASE_URL", server.database())
        store = open_store()
        job = store.jobs.create("job", **SETTINGS)
        server.stop("fast")
        store.writer.append(job.pk, "m", 1, 1.0)
        for ask in (store.jobs.list, lambda: store.jobs.create("another", **SETTINGS), store.events.last_id):
            with pytest.raises(DatabaseTrouble, match="did not do its part"):
                ask()
        server.start()
        store.writer.flush()
        assert store.metrics.series(job.job_id, "m").values == [1.0]
        assert len(store.jobs.list().items) == 1
        store.close()


# --- a file that goes away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["removed", "removed with its home", "replaced"])
def test_a_database_file_that_goes_away_is_noticed_at_the_next_write(sqlite_store, medfusion_home, tmp_path, way):
    path = medfusion_home / "medfusion.db"
    job = sqlite_store.jobs.create("job", **SETTINGS)
    if way == "removed":
        path.unlink()
    elif way == "removed with its home":
        shutil.rmtree(medfusion_home)
    else:
        open_store(f"sqlite:///{tmp_path}/other.db").close()
        os.replace(tmp_path / "other.db", path)
    sqlite_store.writer.append(job.pk, "m", 1, 1.0)
    for write in (lambda: sqlite_store.jobs.create("another", **SETTINGS), sqlite_store.writer.flush):
        with pytest.raises(StoreError, match=r"medfusion\.db was removed or replaced"):
            write()
    sqlite_store.engine.dispose()  # a new connection, of which SQLite would make an empty database
    with pytest.raises(StoreError, match=r"medfusion\.db was removed or replaced"):
        sqlite_store.jobs.list()
    assert path.exists() == (way == "replaced")


def test_a_database_file_that_is_put_back_takes_what_waited_for_it_and_nothing_twice(sqlite_store, medfusion_home):
    path = medfusion_home / "medfusion.db"
    job = sqlite_store.jobs.create("job", **SETTINGS)
    path.rename(path.with_suffix(".aside"))
    sqlite_store.writer.append(job.pk, "m", 1, 1.0)
    with pytest.raises(StoreError, match="removed or replaced"):
        sqlite_store.jobs.create("refused", **SETTINGS)
    path.with_suffix(".aside").rename(path)
    sqlite_store.jobs.create("taken", **SETTINGS)
    sqlite_store.writer.flush()
    assert [job.name for job in sqlite_store.jobs.list().items] == ["taken", "job"]
    assert sqlite_store.metrics.series(job.job_id, "m").values == [1.0]
    assert _is_sound(path)


# --- words and numbers of any kind -------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200).filter(
    str.strip
)
on_one_store = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@given(name=names)
@example(name="👩🏽‍⚕️🩻" * 20)
@example(name="100%_\\'\";--")
@example(name="عمر ולד 患者 é")
@example(name="🩻" * 200)
@on_one_store
def test_a_job_of_any_name_comes_back_as_it_was_and_is_found_by_it(store, name):
    job = store.jobs.create(name, **SETTINGS)
    assert job.name == store.jobs.get(job.job_id).name == store.jobs.list(limit=1).items[0].name == name
    assert job.job_id in [found.job_id for found in store.jobs.list(search=name, limit=500).items]
    assert store.events.list(store.events.last_id() - 1)[0].data["name"] == name


@given(
    samples=st.lists(
        st.tuples(
            st.text(min_size=0, max_size=110),
            st.integers(-(2**70), 2**70) | st.integers(0, 10),
            st.floats(),
        ),
        max_size=20,
    )
)
@example(samples=[("a\0b", 1, 1.0), ("a\ud800", 1, 1.0), ("m" * 101, 1, 1.0), ("", 1, 1.0), ("m", 2**63, 1.0)])
@on_one_store
def test_a_sample_is_refused_when_it_is_appended_or_it_is_stored(store, samples):
    job = store.jobs.create("job", **SETTINGS)
    taken = {}
    for name, step, value in samples:
        try:
            store.writer.append(job.pk, name, step, value)
        except BadValue:
            continue
        taken[name, step] = value if value - value == 0 else None
    store.writer.flush()
    stored = {}
    for name in store.metrics.names(job.job_id):
        series = store.metrics.series(job.job_id, name)
        stored |= {(name, step): value for step, value in zip(series.steps, series.values, strict=True)}
    assert stored == taken


def test_a_beat_that_fails_in_any_way_does_not_end_the_writer(store, new_job, caplog):
    complaints, recovered = Complaints(caplog), threading.Event()

    def beat(session):
        if not complaints.first.is_set():
            raise ZeroDivisionError("once")
        recovered.set()

    detach = store.writer.attach(beat)
    assert recovered.wait(30)
    detach()


@pytest.mark.parametrize(
    ("said", "stored"), [("a\0b", "a\\0b"), ("no image M\udcfcller.png", r"no image M\udcfcller.png")]
)
def test_a_run_that_failed_ends_as_failed_whatever_its_exception_said(store, new_job, said, stored):
    job = new_job(status="running")
    assert store.jobs.update_status(job.job_id, "failed", run_token="t", error=said).error == stored
    assert store.jobs.get(job.job_id).error == stored
