"""A full disk loses no sample."""

import subprocess
import threading

import pytest
from sqlalchemy import event
from trouble import SETTINGS, Complaints, Other, is_sound

from medfusion_jupyter.store import open_store
from medfusion_jupyter.store.errors import DatabaseTrouble


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
    assert is_sound(small_disk / "medfusion.db")


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
    assert is_sound(medfusion_home / "medfusion.db")
