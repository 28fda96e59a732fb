"""Values that no database keeps are refused in words wherever they are given, never by an error of the driver; and what is kept
is found whatever the case of its letters.
"""

import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import DATASET, JOB, MODEL

from medfusion_jupyter.store import StoreError, UnknownId
from medfusion_jupyter.store.errors import BadValue

NOW = dt.datetime.now(dt.UTC)

UNKEPT = ["a\0b", "half \ud800", "\udfff"]
TAKES_TEXT = {
    "jobs.get": lambda s, x: s.jobs.get(x),
    "jobs.create name": lambda s, x: s.jobs.create(x, **JOB),
    "jobs.create description": lambda s, x: s.jobs.create("j", **JOB, description=x),
    "jobs.create watched_metric": lambda s, x: s.jobs.create("j", **{**JOB, "watched_metric": x}),
    "jobs.create config": lambda s, x: s.jobs.create("j", **{**JOB, "model_config": {"a": [{"b": x}]}}),
    "jobs.create config name": lambda s, x: s.jobs.create("j", **{**JOB, "model_config": {"a": {x: 1}}}),
    "jobs.create fingerprint": lambda s, x: s.jobs.create("j", **JOB, dataset_fingerprint=x),
    "jobs.create by": lambda s, x: s.jobs.create("j", **JOB, by=x),
    "jobs.update": lambda s, x: s.jobs.update("job_0001", seen={"name": "job"}, name=x),
    "jobs.update description": lambda s, x: s.jobs.update("job_0001", seen={"description": ""}, description=x),
    "jobs.request": lambda s, x: s.jobs.request(x, "stop"),
    "jobs.request command": lambda s, x: s.jobs.request("job_0001", x),
    "jobs.delete": lambda s, x: s.jobs.delete(x),
    "jobs.list search": lambda s, x: s.jobs.list(search=x),
    "jobs.list created_by": lambda s, x: s.jobs.list(created_by=x),
    "jobs.list metric": lambda s, x: s.jobs.list(metric=x),
    "jobs.list sort": lambda s, x: s.jobs.list(sort=x),
    "jobs.list cursor": lambda s, x: s.jobs.list(cursor=x),
    "jobs.list by name cursor": lambda s, x: s.jobs.list(sort="name", cursor=x),
    "queue.add": lambda s, x: s.queue.add(x),
    "events.page": lambda s, x: s.events.page(entity_id=x),
    "events.page cursor": lambda s, x: s.events.page(cursor=x),
    "models.register": lambda s, x: s.models.register(x, **MODEL),
    "models.register tag": lambda s, x: s.models.register("m", **MODEL, tags=[x]),
    "models.register path": lambda s, x: s.models.register("m", **{**MODEL, "path": x}),
    "models.register format": lambda s, x: s.models.register("m", **{**MODEL, "format": x}),
    "models.register metrics": lambda s, x: s.models.register("m", **{**MODEL, "metrics": {x: 1.0}}),
    "models.register job": lambda s, x: s.models.register("m", **MODEL, job_id=x),
    "models.get_by_name": lambda s, x: s.models.get_by_name(x),
    "models.get_by_alias": lambda s, x: s.models.get_by_alias("kept", x),
    "models.set_alias": lambda s, x: s.models.set_alias("kept", x, 1),
    "models.remove_alias": lambda s, x: s.models.remove_alias("kept", x),
    "models.versions": lambda s, x: s.models.versions(x),
    "models.update": lambda s, x: s.models.update(1, seen=s.models.get(1).updated_at, tags=[x]),
    "models.list search": lambda s, x: s.models.list(search=x),
    "models.list tag": lambda s, x: s.models.list(tag=x),
    "models.list name": lambda s, x: s.models.list(name=x),
    "datasets.save": lambda s, x: s.datasets.save(x, **DATASET),
    "datasets.save path": lambda s, x: s.datasets.save("d", **{**DATASET, "data_path": x}),
    "datasets.save fingerprint": lambda s, x: s.datasets.save("d", **{**DATASET, "fingerprint": x}),
    "datasets.save classes": lambda s, x: s.datasets.save("d", **{**DATASET, "class_distribution": {x: 1}}),
    "datasets.create": lambda s, x: s.datasets.create("d", data_path=x),
    "datasets.get_by_name": lambda s, x: s.datasets.get_by_name(x),
    "datasets.list search": lambda s, x: s.datasets.list(search=x),
    "datasets.list fingerprint": lambda s, x: s.datasets.list(fingerprint=x),
    "datasets.update": lambda s, x: s.datasets.update(1, seen=s.datasets.get(1).updated_at, name=x),
    "workflows.create": lambda s, x: s.workflows.create(x),
    "workflows.create nodes": lambda s, x: s.workflows.create("w", nodes=[{"a": x}]),
    "workflows.create edges": lambda s, x: s.workflows.create("w", edges=[{x: 1}]),
    "workflows.get_by_name": lambda s, x: s.workflows.get_by_name(x),
    "workflows.update": lambda s, x: s.workflows.update(1, seen_version=1, name=x),
    "workflows.update nodes": lambda s, x: s.workflows.update(1, seen_version=1, nodes=[{"a": x}]),
    "workflows.list": lambda s, x: s.workflows.list(search=x),
}  # fmt: skip

READS_TEXT = {
    "metrics.series": lambda s, x: s.metrics.series(x, "m").steps,
    "metrics.series name": lambda s, x: s.metrics.series("job_0001", x).steps,
    "metrics.names": lambda s, x: s.metrics.names(x),
    "metrics.latest": lambda s, x: list(s.metrics.latest(x)),
    "checkpoints.list": lambda s, x: s.checkpoints.list(x),
    "events.list entity": lambda s, x: s.events.list(entity=x),
    "events.list entity_id": lambda s, x: s.events.list(entity_id=x),
    "jobs.list status": lambda s, x: s.jobs.list(status=x).items,
    "models.list job": lambda s, x: s.models.list(job_id=x).items,
}

BEYOND = [2**63, 2**70, -(2**63) - 1]
TAKES_NUMBER = {
    "jobs.create total_epochs": lambda s, n: s.jobs.create("j", **{**JOB, "total_epochs": n}),
    "queue.add priority": lambda s, n: s.queue.add("job_0001", priority=n),
    "models.get": lambda s, n: s.models.get(n),
    "models.get_by_name version": lambda s, n: s.models.get_by_name("kept", version=n),
    "models.set_alias version": lambda s, n: s.models.set_alias("kept", "a", n),
    "models.register parent": lambda s, n: s.models.register("m", **MODEL, parent_id=n),
    "models.register size": lambda s, n: s.models.register("m", **{**MODEL, "file_size": n}),
    "models.update": lambda s, n: s.models.update(n, seen=NOW),
    "models.delete": lambda s, n: s.models.delete(n),
    "datasets.get": lambda s, n: s.datasets.get(n),
    "datasets.save samples": lambda s, n: s.datasets.save("d", **{**DATASET, "num_samples": n}),
    "datasets.update": lambda s, n: s.datasets.update(n, seen=NOW),
    "datasets.delete": lambda s, n: s.datasets.delete(n),
    "datasets.analyze": lambda s, n: s.datasets.analyze(n),
    "workflows.get": lambda s, n: s.workflows.get(n),
    "workflows.update": lambda s, n: s.workflows.update(n, seen_version=1),
    "workflows.update version": lambda s, n: s.workflows.update(1, seen_version=n),
    "workflows.versions": lambda s, n: s.workflows.versions(n),
    "workflows.restore": lambda s, n: s.workflows.restore(1, n),
    "workflows.delete": lambda s, n: s.workflows.delete(n),
    "jobs.list limit": lambda s, n: s.jobs.list(limit=n),
    "jobs.list cursor": lambda s, n: s.jobs.list(cursor=str(n)),
    "models.list limit": lambda s, n: s.models.list(limit=n),
}


@pytest.fixture
def filled(store):
    """A store with one row of each kind, and a check that nothing was added to it or changed in it."""
    store.jobs.create("kept", **JOB)
    store.models.register("kept", **MODEL)
    store.datasets.save("kept", **DATASET)
    store.workflows.create("kept")

    def rows():
        return (
            store.jobs.list().items,
            store.models.list().items,
            store.datasets.list().items,
            store.workflows.list().items,
            store.events.list(),
        )

    before = rows()
    yield store
    assert rows() == before


def not_refused(store, operations, values, refusals):
    """The operations that took a value, or failed otherwise than in words."""
    wrong = {}
    for what, do in operations.items():
        for value in values:
            try:
                wrong[what, value] = do(store, value)
            except refusals:
                continue
            except Exception as error:
                wrong[what, value] = error
    return wrong


def test_a_text_that_no_database_keeps_is_refused_in_words_and_changes_nothing(filled):
    assert not_refused(filled, TAKES_TEXT, UNKEPT, (BadValue, UnknownId)) == {}


def test_nothing_is_found_under_a_text_that_no_database_keeps(filled):
    assert all(found == [] for found in not_refused(filled, READS_TEXT, UNKEPT, (BadValue, UnknownId)).values())


def test_a_number_that_no_column_holds_is_refused_in_words_and_changes_nothing(filled):
    assert not_refused(filled, TAKES_NUMBER, BEYOND, StoreError) == {}


def test_events_and_steps_after_the_last_number_of_all_are_none_or_refused_in_words(filled):
    operations = {
        "events.list": lambda s, n: s.events.list(n),
        "metrics.series": lambda s, n: s.metrics.series("job_0001", "m", since=n).steps,
    }
    assert all(found == [] for found in not_refused(filled, operations, [2**63, 2**70], BadValue).values())


@pytest.mark.parametrize(
    ("epochs", "metric"), [(0, "m"), (-1, "m"), (2**31, "m"), (1, ""), (1, "m" * 101), (1, "a\nb")]
)
def test_a_job_needs_epochs_to_train_and_a_metric_to_watch(store, epochs, metric):
    with pytest.raises(BadValue, match=r"total_epochs=|watched_metric="):
        store.jobs.create("job", **{**JOB, "total_epochs": epochs, "watched_metric": metric})
    assert store.jobs.list().items == []
    assert store.events.list() == []


SPELLED = [
    ("Ärztehaus ÇELİK", "ärzte"),
    ("ärztehaus", "ÄRZTE"),
    ("ПАЦИЕНТ 7", "пациент"),
    ("Ωμέγα", "ΩΜΈΓΑ"),
    ("straße", "STRAßE"),
    ("ICU cohort", "icu C"),
    ("患者", "患"),
]


@pytest.mark.parametrize(("name", "search"), SPELLED)
def test_a_search_finds_letters_of_every_alphabet_in_any_case(store, name, search):
    store.jobs.create(name, **JOB)
    store.jobs.create("other", **JOB)
    store.models.register(name, **MODEL, tags=[name, "x"])
    store.models.register("described", **MODEL, description=f"of {name}!")
    store.datasets.save(name, **DATASET, tags=["x", name])
    store.workflows.create(name)
    assert [job.name for job in store.jobs.list(search=search).items] == [name]
    assert [job.name for job in store.jobs.list(search=search, sort="name").items] == [name]
    assert [one.name for one in store.models.list(search=search).items] == ["described", name]
    assert [one.name for one in store.datasets.list(search=search).items] == [name]
    assert [one.name for one in store.workflows.list(search=search).items] == [name]
    for tag in (name, name.lower()):
        assert [one.name for one in store.models.list(tag=tag).items] == [name]
        assert [one.name for one in store.datasets.list(tag=tag).items] == [name]
    assert store.models.list(tag=name[:1]).items == []


@pytest.mark.parametrize("wild", ["%", "100_äab", "100%_", "\\", "/", "ä%", "ä_b", "ä/", '"', "'"])
def test_no_character_of_a_search_is_a_wildcard(store, wild):
    store.jobs.create("100 äab", **JOB)
    store.models.register("plain", **MODEL, tags=["ab"])
    assert store.jobs.list(search=wild).items == []
    assert store.models.list(tag=wild).items == []
    there = store.jobs.create(f"<{wild}>", **JOB)
    tagged = store.models.register("tagged", **MODEL, tags=[wild])
    assert store.jobs.list(search=wild).items[0].job_id == there.job_id
    assert [one.id for one in store.models.list(tag=wild).items] == [tagged.id]


letters = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@given(tags=st.lists(letters.filter(str.strip), max_size=5), more=letters, part=st.integers(0, 19))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_model_is_found_by_each_of_its_tags_and_by_each_part_of_its_words(store, tags, more, part):
    made = store.models.register("m", **MODEL, tags=tags, description=more)
    for tag in tags:
        assert made in store.models.list(tag=tag, limit=500).items
    assert made in store.models.list(search=more[part % len(more) :], limit=500).items
