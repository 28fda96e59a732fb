"""Metric series and the queue that writes them."""

import itertools
import math
import sqlite3
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medfusion_jupyter.store.errors import BadValue, UnknownId


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


values_of_a_series = st.lists(st.one_of(st.none(), st.floats(-10, 10), st.just(0.0)), min_size=1, max_size=120)


def write(store, job, values, steps):
    for step, value in zip(steps, values, strict=True):
        store.writer.append(job.pk, "m", step, math.nan if value is None else value)
    store.writer.flush()


@given(data=st.data(), values=values_of_a_series, points=st.integers(1, 40), gap=st.sampled_from([0, 1, 30, 10**9]))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_a_thinned_series_keeps_its_range_its_end_and_its_order(store, new_job, data, values, points, gap):
    job = new_job()
    between = data.draw(st.lists(st.integers(1, 1 + gap), min_size=len(values), max_size=len(values)))
    steps = list(itertools.accumulate(between))
    write(store, job, values, steps)
    thin = store.metrics.series(job.job_id, "m", points=points)
    recorded = dict(zip(steps, values, strict=True))
    assert len(thin.steps) == len(thin.values) <= points
    assert thin.steps == sorted(set(thin.steps))
    assert thin.values == [recorded[step] for step in thin.steps]
    assert thin.steps[-1] == steps[-1]
    if len(steps) <= points:
        assert thin.steps == steps
    numbers = [value for value in values if value is not None]
    if points > 2 and numbers:
        shown = [value for value in thin.values if value is not None]
        assert (min(shown), max(shown)) == (min(numbers), max(numbers))


def test_thinning_keeps_a_spike_and_shows_a_gap_only_where_nothing_is_a_number(store, new_job):
    job = new_job()
    values = [1.0] * 1000
    values[500] = 99.0
    values[100:900:2] = [None] * 400
    values[200:300] = [None] * 100
    values[500] = 99.0
    write(store, job, values, range(1, 1001))
    thin = store.metrics.series(job.job_id, "m", points=101)
    assert 99.0 in thin.values
    gaps = [step for step, value in zip(thin.steps, thin.values, strict=True) if value is None]
    assert gaps
    assert all(200 < step <= 300 for step in gaps)
    assert len(thin.steps) <= 101


def test_a_series_of_a_job_that_does_not_exist_is_refused_and_one_without_points_is_empty(store, new_job):
    job = new_job()
    for part in ({}, {"points": 5}, {"since": 3}):
        assert store.metrics.series(job.job_id, "m", **part).steps == []
        with pytest.raises(UnknownId, match="job_9999"):
            store.metrics.series("job_9999", "m", **part)


def test_a_thinned_series_may_begin_after_a_step(store, new_job):
    job = new_job()
    write(store, job, [float(step) for step in range(1000)], range(1000))
    thin = store.metrics.series(job.job_id, "m", since=499, points=11)
    assert (thin.steps[0], thin.steps[-1], len(thin.steps)) == (500, 999, 11)
    assert store.metrics.series(job.job_id, "m", points=2).steps == [0, 999]
    assert store.metrics.series(job.job_id, "m", points=1).steps == [999]
    with pytest.raises(BadValue, match="points=0"):
        store.metrics.series(job.job_id, "m", points=0)
