"""Metric series and the queue that writes them."""

import math
import sqlite3
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medfusion_jupyter.store.metrics import _thinned


def test_what_is_appended_is_there_after_a_flush_and_steps_are_in_order(store, new_job):
    job = new_job()
    for step in (3, 1, 2):
        store.writer.append(job.pk, "train/loss", step, step / 10)
    store.writer.append(job.pk, "lr", 1, 1e-3)
    store.writer.flush()
    series = store.metrics.series(job.job_id, "train/loss")
    assert (series.steps, series.values) == ([1, 2, 3], [0.1, 0.2, 0.3])
    assert store.metrics.series(job.job_id, "train/loss", since=2).steps == [3]
    assert store.metrics.names(job.job_id) == ["lr", "train/loss"]
    assert store.metrics.latest(job.job_id) == {"train/loss": 0.3, "lr": 1e-3}
    assert store.metrics.series(job.job_id, "nothing").steps == []


def test_the_thread_commits_by_itself(store, new_job):
    job = new_job()
    committed = threading.Event()
    detach = store.writer.attach(lambda session: committed.set())
    store.writer.append(job.pk, "m", 1, 1.0)
    assert committed.wait(10)
    detach()
    store.writer.flush()
    assert store.metrics.series(job.job_id, "m").values == [1.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_stored_as_none(store, new_job, value):
    job = new_job()
    store.writer.append(job.pk, "m", 1, value)
    store.writer.flush()
    assert store.metrics.series(job.job_id, "m").values == [None]


def test_a_step_that_is_written_again_takes_the_newer_value(store, new_job):
    job = new_job()
    for value in (1.0, 2.0):
        store.writer.append(job.pk, "m", 1, value)
    store.writer.flush()
    store.writer.append(job.pk, "m", 1, 3.0)
    store.writer.flush()
    assert store.metrics.series(job.job_id, "m").values == [3.0]


def test_samples_of_a_deleted_job_do_not_hold_up_those_of_others(store, new_job):
    gone, job = new_job(), new_job()
    store.jobs.request(gone.job_id, "stop")
    store.jobs.delete(gone.job_id)
    store.writer.append(gone.pk, "m", 1, 1.0)
    store.writer.append(job.pk, "m", 1, 1.0)
    store.writer.flush()
    assert store.metrics.series(job.job_id, "m").values == [1.0]


def test_a_locked_database_loses_nothing(sqlite_store, medfusion_home):
    job = sqlite_store.jobs.create(
        "job", model_config={}, data_config={}, training_config={}, total_epochs=1, watched_metric="val/loss"
    )
    other = sqlite3.connect(medfusion_home / "medfusion.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    sqlite_store.writer.append(job.pk, "m", 1, 1.0)
    release = threading.Timer(1.0, lambda: other.execute("ROLLBACK"))
    release.start()
    sqlite_store.writer.flush()
    release.join()
    other.close()
    assert sqlite_store.metrics.series(job.job_id, "m").values == [1.0]


def test_a_beat_that_fails_does_not_end_the_writer(store, new_job, caplog):
    from medfusion_jupyter.store import StoreError

    calls, recovered = [], threading.Event()

    def beat(session):
        calls.append(1)
        if len(calls) == 1:
            raise StoreError("once")
        recovered.set()

    detach = store.writer.attach(beat)
    store.writer.wake()
    assert recovered.wait(10)
    detach()
    assert "tried again: once" in caplog.text


@given(st.lists(st.one_of(st.none(), st.floats(-10, 10)), min_size=2, max_size=200), st.integers(2, 50))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_thinned_series_keeps_its_mean_its_end_and_its_order(values, points):
    if len(values) <= points:
        return
    steps, thinned = _thinned(list(range(len(values))), values, points)
    assert len(steps) == len(thinned) == points
    assert steps == sorted(set(steps))
    assert (steps[-1], thinned[-1]) == (len(values) - 1, values[-1])
    numbers = [v for v in values if v is not None]
    for value in thinned:
        assert value is None or min(numbers) - 1e-9 <= value <= max(numbers) + 1e-9
