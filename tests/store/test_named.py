"""Models, datasets, workflows and checkpoints: found by name, listed, never overwritten in silence."""

import pytest

from medfusion_jupyter.store import NameTaken, StoreError, UnknownId
from medfusion_jupyter.store.people import current_person

MODEL = {
    "path": "p",
    "file_size": 1,
    "format": "safetensors",
    "backbone": "resnet18",
    "num_classes": 2,
    "input_shape": [1, 8, 8],
}


def test_a_name_counts_its_versions_and_knows_its_job(store, new_job):
    job = new_job()
    first = store.models.register("icu", **MODEL, metrics={"val/auroc": 0.8}, job_id=job.job_id)
    second = store.models.register("icu", **MODEL, metrics={})
    assert (first.version, second.version) == (1, 2)
    assert first.training_job_id == job.job_id
    assert store.models.get_by_name("icu") == second
    assert store.models.get_by_name("icu", version=1) == store.models.get(first.id) == first
    assert [model.id for model in store.models.list(search="IC").items] == [second.id, first.id]


def test_unknown_names_are_answered_with_those_there_are(store):
    store.models.register("icu", **MODEL, metrics={})
    with pytest.raises(UnknownId, match="'ics'. The newest: icu"):
        store.models.get_by_name("ics")
    with pytest.raises(UnknownId, match="v7.*v1"):
        store.models.get_by_name("icu", version=7)
    with pytest.raises(UnknownId, match="model 99"):
        store.models.get(99)
    with pytest.raises(UnknownId, match="No dataset"):
        store.datasets.get_by_name("x")
    with pytest.raises(UnknownId, match="No workflow"):
        store.workflows.get(1)


def test_a_dataset_saved_again_becomes_the_new_one(store):
    what = {"data_path": "p", "num_classes": 2, "class_distribution": {"no": 1}}
    old = store.datasets.save("cxr", fingerprint="a", num_samples=1, **what)
    new = store.datasets.save("cxr", fingerprint="b", num_samples=2, **what)
    assert new.id == old.id
    assert store.datasets.get_by_name("cxr").fingerprint == "b"
    assert [event.kind for event in store.events.list(entity="dataset")] == ["created", "updated"]
    assert len(store.datasets.list().items) == 1


def test_a_workflow_has_a_name_of_its_own(store):
    made = store.workflows.create("fuse", nodes=[{"id": "a"}], edges=[])
    assert store.workflows.get(made.id) == made
    assert store.workflows.list(search="FU").items == [made]
    with pytest.raises(NameTaken, match="'fuse'"):
        store.workflows.create("fuse")


def test_one_checkpoint_is_the_best(store, new_job):
    job = new_job(status="running")
    for epoch, is_best in ((1, True), (2, False), (3, True)):
        store.checkpoints.add(
            job.job_id,
            run_token="t",
            epoch=epoch,
            step=epoch,
            metrics={"train/loss": 1.0},
            path=f"e{epoch}",
            file_size=1,
            is_best=is_best,
        )
    assert [c.epoch for c in store.checkpoints.list(job.job_id) if c.is_best] == [3]
    assert store.jobs.get(job.job_id).checkpoint_path == "e3"
    store.checkpoints.remove(store.checkpoints.best(job.job_id).id)
    assert [c.epoch for c in store.checkpoints.list(job.job_id)] == [1, 2]


def test_an_alias_means_one_version_at_a_time(store):
    first, second = (store.models.register("icu", **MODEL, metrics={}) for _ in range(2))
    assert store.models.set_alias("icu", "production", 1, by="ada").aliases == ["production"]
    assert store.models.get_by_alias("icu", "production").id == first.id
    store.models.set_alias("icu", "production", 2)
    assert store.models.get_by_alias("icu", "production").id == second.id
    assert [(one.version, one.aliases) for one in store.models.versions("icu")] == [(2, ["production"]), (1, [])]
    assert [event.actor for event in store.events.list(entity="model") if event.kind == "aliased"] == [
        "ada",
        current_person(),
    ]
    store.models.remove_alias("icu", "production")
    with pytest.raises(UnknownId, match="'production'"):
        store.models.get_by_alias("icu", "production")
    with pytest.raises(UnknownId, match="'production'"):
        store.models.remove_alias("icu", "production")


@pytest.mark.parametrize("alias", ["", "7", "v7", "x" * 101])
def test_an_alias_is_no_version_number(store, alias):
    store.models.register("icu", **MODEL, metrics={})
    with pytest.raises(StoreError, match="cannot be one"):
        store.models.set_alias("icu", alias, 1)
    with pytest.raises(UnknownId, match="v9"):
        store.models.set_alias("icu", "production", 9)
