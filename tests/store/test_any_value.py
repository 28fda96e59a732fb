"""Words and numbers of any kind come back as they were, or are refused when they are given."""

import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trouble import SETTINGS, Complaints

from medfusion_jupyter.store.errors import BadValue

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
    (created,) = store.events.list(entity="job", entity_id=job.job_id)
    assert created.data["name"] == name


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
