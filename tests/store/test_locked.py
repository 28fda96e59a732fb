"""While another process holds the database, or is killed in its transaction, nothing is lost and nobody waits in vain."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from trouble import SETTINGS, Complaints, Other, hold_postgresql, hold_sqlite, is_sound, silent_job

from medfusion_jupyter.store import open_store
from medfusion_jupyter.store.database import WRITE_LOCK
from medfusion_jupyter.store.errors import DatabaseTrouble


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
        hold_sqlite(medfusion_home / "medfusion.db", lock)
        if either_database == "sqlite"
        else hold_postgresql(store.url, lock)
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
    other = hold_sqlite(medfusion_home / "medfusion.db")
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
    job = silent_job(store, here)
    other = (
        hold_sqlite(medfusion_home / "medfusion.db")
        if either_database == "sqlite"
        else hold_postgresql(store.url, f"SELECT pg_advisory_lock({WRITE_LOCK})")
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
        assert is_sound(store.engine.url.database)
