"""A fork over REST: a queued job that begins from a checkpoint of another one."""

import asyncio

import pytest
from identities import People

from medfusion_jupyter.settings.forking import USUAL
from medfusion_jupyter.settings.training import TrainingSettings
from medfusion_jupyter.store import home
from medfusion_jupyter.store.errors import CheckpointGone
from medfusion_jupyter.store.job_folds import FoldPlan


@pytest.fixture
def jp_server_config(jp_server_config):
    jp_server_config["ServerApp"]["identity_provider_class"] = People
    jp_server_config["MedFusionApp"]["admins"] = ["root-admin"]
    return jp_server_config


@pytest.fixture
def parent(store, here):
    """A job of ada at work, with a checkpoint after each of two epochs and one within the third."""
    settings = TrainingSettings(epochs=5, image_encoder=None, head="classification", watch="val/auroc")
    job = store.jobs.create(
        "parent",
        model_config={"image_encoder": None, "tabular_encoder": "mlp", "fusion": "gated", "head": "classification"},
        data_config={"dataset": "kept"},
        training_config=settings.model_dump(mode="json"),
        total_epochs=5,
        watched_metric="val/auroc",
        dataset_fingerprint="f",
        by="ada",
    )
    store.jobs.claim(job.job_id, run_token="t", **here)
    folder = home() / "jobs" / job.job_id
    folder.mkdir(parents=True)
    (folder / "split.json").write_text("{}")
    for epoch, step, metrics in ((1, 10, {"val/auroc": 0.7}), (2, 20, {"val/auroc": 0.8}), (2, 25, {})):
        path = folder / f"{step}.safetensors"
        path.write_bytes(b"weights")
        store.checkpoints.add(
            job.job_id,
            run_token="t",
            epoch=epoch,
            step=step,
            metrics=metrics,
            path=str(path),
            file_size=7,
            is_best=bool(metrics),
        )
    return job


async def test_a_fork_of_a_run_that_goes_on_begins_from_what_is_newest_by_then(store, parent):
    folder = home() / "jobs" / parent.job_id
    tried = []

    def make(chosen):
        tried.append(chosen.step)
        if chosen.step == 25:  # the run goes on meanwhile, and keeps the newest alone
            (folder / "25.safetensors").unlink()
            (folder / "30.safetensors").write_bytes(b"weights")
            newest = {"epoch": 3, "step": 30, "metrics": {"val/auroc": 0.9}, "is_best": True, "file_size": 7}
            store.checkpoints.add(parent.job_id, run_token="t", path=str(folder / "30.safetensors"), **newest)
        return store.jobs.fork(parent.job_id, chosen, training_config=parent.training_config, changes={}, by="ada")

    made = store.checkpoints.made_from(parent.job_id, make)
    assert (tried, made.fork["step"]) == ([25, 30], 30)
    # one that was named, or the newest, is not exchanged for another
    (folder / "30.safetensors").unlink()
    for named in ({}, {"epoch": 3}):
        with pytest.raises(CheckpointGone, match="30.safetensors of job_0001 is not there"):
            store.checkpoints.made_from(parent.job_id, make, **named)


async def test_a_fork_is_queued_with_its_parent_checkpoint_and_changes(ask, store, parent):
    body = {"epoch": 1, "config": {"lr": 0.01, "epochs": 9}, "name": "slower", "priority": 3}
    made = await ask("training", parent.job_id, "fork", method="POST", body=body, who="ada")
    assert (made["name"], made["status"], made["priority"], made["created_by"]) == ("slower", "pending", 3, "ada")
    assert made["parent_job_id"] == parent.job_id
    changes = {"lr": {"from": 3e-4, "to": 0.01}, "epochs": {"from": 5, "to": 9}}
    assert made["fork"] == {"epoch": 1, "step": 10, "changes": changes}
    assert made["training_config"] == {**parent.training_config, "lr": 0.01, "epochs": 9, "name": "slower"}
    assert (made["total_epochs"], made["best_value"]) == (9, 0.7)
    assert made["job_id"] in [job.job_id for job in store.queue.waiting()]
    (checkpoint,) = (await ask("training", made["job_id"], "checkpoints", who="ada"))["items"]
    assert checkpoint["is_best"]
    folder = home() / "jobs" / made["job_id"]
    assert sorted(path.name for path in folder.iterdir()) == ["10.safetensors", "split.json"]
    events = (await ask("training", made["job_id"], "events", who="ada"))["items"]
    assert [(event["kind"], event["actor"]) for event in events] == [
        ("created", "ada"),
        ("forked", "ada"),
        ("queued", "ada"),
    ]
    assert events[1]["data"] == {"from": parent.job_id, **made["fork"]}
    children = (await ask("training", "list", parent_job_id=parent.job_id, who="ada"))["items"]
    assert [child["job_id"] for child in children] == [made["job_id"]]


async def test_by_default_it_is_the_newest_checkpoint_within_an_epoch_too(ask, parent):
    made = await ask("training", parent.job_id, "fork", method="POST", body={}, who="ada")
    assert made["fork"] == {"epoch": 2, "step": 25, "changes": {}}
    assert (made["name"], made["best_epoch"]) == ("parent", None)


REFUSED = [
    ({"epoch": 4}, 400, "no checkpoint epoch=4. It has: epoch=1 step=10; epoch=2 step=20; epoch=2 step=25"),
    ({"config": {"fusion": "concat"}}, 422, "fusion='concat' cannot be changed in a fork"),
    (
        {"config": {"image_size": 64}},
        422,
        "image_size=64 cannot be changed in a fork here: whether the checkpoint's weights",
    ),
    ({"config": {"image_size": 4}}, 422, "image_size=4 cannot be changed in a fork here"),
    ({"config": {"lr": "fast"}}, 422, "lr='fast': give a number above 0 and at most 10."),
    ({"config": {"batch_size": 7}}, 422, "batch_size=7 changes the batches of an epoch"),
    ({"config": {"epochs": 2}}, 422, "nothing is left to train"),
    ({"config": {"colour": "red"}}, 422, "no setting 'colour'"),
    ({"config": {"lr": -1}}, 422, "lr=-1"),
    ({"epoch": "one"}, 422, ""),
    ({"priority": 9999}, 422, ""),
]


@pytest.mark.parametrize(("body", "code", "said"), REFUSED)
async def test_what_does_not_fit_is_refused_and_nothing_is_stored(refused, store, parent, body, code, said):
    before = store.events.list()
    answered, told = await refused("training", parent.job_id, "fork", method="POST", body=body, who="ada")
    assert answered == code
    assert said in told["message"]
    assert store.events.list() == before
    assert not [path for path in (home() / "jobs").iterdir() if path.name != parent.job_id]


async def test_a_form_is_told_what_a_fork_may_begin_from_and_change(ask, refused, parent):
    form = await ask("training", parent.job_id, "fork", who="ada")
    assert [(one["epoch"], one["step"]) for one in form["checkpoints"]] == [(1, 10), (2, 20), (2, 25)]
    assert form["settings"] == parent.training_config
    offered = form["schema"]["properties"]
    assert {"fusion", "image_encoder", "val", "image_size", "name"}.isdisjoint(offered)
    assert {name for name, one in offered.items() if one["usual"]} == set(USUAL)
    assert offered["lr"]["exclusiveMinimum"] == 0
    assert "peak learning rate" in offered["lr"]["description"]
    # nothing of it is refused by its name
    body = {"epoch": 1, "config": {name: parent.training_config[name] for name in offered}}
    made = await ask("training", parent.job_id, "fork", method="POST", body=body, who="ada")
    assert made["fork"]["changes"] == {}
    assert (await refused("training", "job_0999", "fork", who="ada"))[0] == 404


async def test_a_cross_validation_is_forked_by_its_folds(refused, store):
    plans = [FoldPlan(f"cv fold {k}", {}, {}, 3, "val/auroc") for k in (1, 2)]
    job = store.jobs.create(
        "cv", model_config={}, data_config={}, training_config={}, total_epochs=6, watched_metric="test/auroc",
        folds=plans, by="ada",
    )  # fmt: skip
    code, told = await refused("training", job.job_id, "fork", method="POST", body={}, who="ada")
    folds = ", ".join(fold.job_id for fold in store.jobs.folds(job.job_id))
    assert (code, told["message"]) == (
        400, f"{job.job_id} is a cross-validation: its folds have the checkpoints. Name one of {folds}."
    )  # fmt: skip


async def test_two_people_fork_at_once_and_each_has_a_job_of_their_own(ask, store, parent):
    bodies = [{"epoch": 1, "config": {"lr": lr}} for lr in (1e-2, 1e-3, 1e-4)]
    asked = [ask("training", parent.job_id, "fork", method="POST", body=body, who="ada") for body in bodies]
    made = await asyncio.gather(*asked)
    assert len({job["job_id"] for job in made}) == 3
    assert [job["fork"]["changes"]["lr"]["to"] for job in made] == [1e-2, 1e-3, 1e-4]
    for job in made:
        folder = home() / "jobs" / job["job_id"]
        assert sorted(path.name for path in folder.iterdir()) == ["10.safetensors", "split.json"]


async def test_a_checkpoint_whose_file_is_gone_is_refused(refused, parent):
    (home() / "jobs" / parent.job_id / "20.safetensors").unlink()
    code, told = await refused("training", parent.job_id, "fork", method="POST", body={"epoch": 2}, who="ada")
    assert code == 400
    assert "20.safetensors" in told["message"]


async def test_somebody_elses_job_is_forked_by_an_admin_alone(fetch, refused, store, parent):
    code, told = await refused("training", parent.job_id, "fork", method="POST", body={}, who="grace")
    assert (code, told["code"]) == (403, "not-yours")
    assert "belongs to ada" in told["message"]
    assert [job.job_id for job in store.jobs.list().items] == [parent.job_id]
    assert (await fetch(f"training/{parent.job_id}/fork", "POST", {}, who="root-admin")).code == 201
    assert (await refused("training", "job_0999", "fork", method="POST", body={}, who="ada"))[0] == 404
