"""A server or a file that goes away is noticed; what waited for it is stored once when it is back."""

import os
import shutil
import threading

import pytest
from postgresql import Server
from trouble import SETTINGS, is_sound

from medfusion_jupyter.store import StoreError, open_store
from medfusion_jupyter.store.errors import DatabaseTrouble


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
    assert is_sound(path)
