"""REST over the store: what it answers, and what it refuses in one shape."""

import json

import pytest

from medfusion_jupyter.store import home
from medfusion_jupyter.store.job_folds import FoldPlan


async def test_jobs_are_listed_by_page_status_and_search(ask, store, running_job):
    jobs = [running_job(name) for name in ("one", "two", "three")]
    store.jobs.update_status(jobs[0].job_id, "completed", run_token="t")
    page = await ask("training", "list", limit="2")
    assert [job["job_id"] for job in page["items"]] == ["job_0003", "job_0002"]
    assert page["counts"] == {"running": 2, "completed": 1}
    rest = await ask("training", "list", limit="2", cursor=page["next"])
    assert ([job["job_id"] for job in rest["items"]], rest["next"]) == (["job_0001"], None)
    assert [job["name"] for job in (await ask("training", "list", status="completed"))["items"]] == ["one"]
    assert [job["name"] for job in (await ask("training", "list", search="TW"))["items"]] == ["two"]


async def test_a_cross_validation_is_one_job_that_is_asked_and_deleted_with_its_folds(ask, refused, store, running_job):
    plans = [FoldPlan(f"cv fold {k}", {}, {}, 3, "val/auroc") for k in (1, 2)]
    whole = store.jobs.create(
        "cv",
        model_config={},
        data_config={},
        training_config={},
        total_epochs=6,
        watched_metric="test/auroc",
        folds=plans,
    )
    one, two = (fold.job_id for fold in store.jobs.folds(whole.job_id))
    page = await ask("training", "list", folds="false")
    assert [(job["job_id"], job["num_folds"], job["folds_done"]) for job in page["items"]] == [(whole.job_id, 2, 0)]
    assert page["counts"] == {"pending": 1}
    children = (await ask("training", "list", parent_job_id=whole.job_id))["items"]
    assert [(job["job_id"], job["fold"], job["parent_job_id"]) for job in children] == [
        (two, 2, whole.job_id),
        (one, 1, whole.job_id),
    ]
    assert (await refused("training", "list", parent_job_id="job_0999"))[0] == 404
    assert (await refused("training", "list", parent_job_id="cv"))[0] in (400, 422)
    assert (await refused("training", one, method="DELETE"))[0] == 409
    await ask("training", "stop", whole.job_id, method="POST")
    assert (await ask("training", "status", whole.job_id))["status"] == "stopped"
    await ask("training", whole.job_id, method="DELETE")
    assert (await ask("training", "list"))["items"] == []


async def test_a_job_is_given_as_it_is_without_its_token(ask, running_job):
    job = await ask("training", "status", running_job("<b>bold</b>").job_id)
    assert job["name"] == "<b>bold</b>"
    assert job["status"] == "running"
    assert job["commands"] == ["pause", "stop", "checkpoint"]
    assert "run_token" not in job


async def test_commands_wait_in_the_store_for_the_run(ask, store, running_job):
    job = running_job()
    assert (await ask("training", "pause", job.job_id, method="POST"))["job_id"] == job.job_id
    with store.writing() as session:
        assert [c.command for c in store.jobs.take_commands_in(session, job.pk, "t")] == ["pause"]
    command = store.events.list(entity="job")[-1]
    assert (command.kind, command.data) == ("command", {"command": "pause"})
    assert command.actor


async def test_a_checkpoint_and_changes_are_asked_for_with_the_ranges_of_the_settings(ask, refused, store, running_job):
    job = running_job()
    await ask("training", "checkpoint", job.job_id, method="POST")
    await ask("training", job.job_id, method="PATCH", body={"lr": 1e-4, "patience": None, "epochs": 40})
    with store.writing() as session:
        taken = [(one.command, one.arguments) for one in store.jobs.take_commands_in(session, job.pk, "t")]
    assert taken == [("checkpoint", None), ("set", {"lr": 1e-4, "patience": None, "epochs": 40})]
    for body, said in (
        ({"patience": None, "min_delta": 0.1}, "min_delta is of early stopping"),
        ({"unfreeze": ["head"]}, "unfreeze names 'head', which is not in what freeze names: nothing"),
        ({"encoder_lr": 1e-3}, "not begun or ended"),
    ):
        code, answer = await refused("training", job.job_id, method="PATCH", body=body)
        assert (code, answer["code"]) == (422, "invalid")
        assert said in answer["message"]


async def test_a_command_that_the_status_does_not_allow_is_a_conflict(refused, store, running_job):
    job = running_job()
    code, body = await refused("training", "resume", job.job_id, method="POST")
    assert (code, body["code"]) == (409, "not-now")
    store.jobs.update_status(job.job_id, "completed", run_token="t")
    for command in ("pause", "resume", "stop", "checkpoint"):
        assert (await refused("training", command, job.job_id, method="POST"))[0] == 409


async def test_what_is_not_there_is_404_and_says_what_is(refused, running_job):
    running_job()
    code, body = await refused("training", "status", "job_0999")
    assert (code, body["code"]) == (404, "not-found")
    assert "job_0001" in body["message"]
    assert (await refused("models", "7"))[0] == 404
    assert (await refused("training", "stop", "job_0999", method="POST"))[0] == 404
    assert (await refused("training", "job_0999", "metrics", name="m"))[0] == 404


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (("training", "list"), {"limit": "0"}),
        (("training", "list"), {"limit": "-1"}),
        (("training", "list"), {"limit": "501"}),
        (("training", "list"), {"limit": "x"}),
        (("training", "list"), {"cursor": "x"}),
        (("training", "list"), {"status": "asleep"}),
        (("models",), {"limit": "1e9"}),
        (("models",), {"cursor": "../.."}),
        (("training", "job_0001", "metrics"), {}),
        (("training", "job_0001", "metrics"), {"name": "m", "points": "1"}),
        (("training", "job_0001", "metrics"), {"name": "m", "since": "-3"}),
    ],
)
async def test_bad_arguments_are_400_and_name_the_value(refused, running_job, path, params):
    running_job()
    code, body = await refused(*path, **params)
    assert code == 400
    assert body["message"]


async def test_a_series_is_given_whole_thinned_or_from_a_step_on(ask, store, running_job):
    job = running_job()
    for step in range(1, 101):
        store.writer.append(job.pk, "train/loss", step, 1 / step)
    store.writer.flush()
    whole = await ask("training", job.job_id, "metrics", name="train/loss")
    assert whole["steps"] == list(range(1, 101))
    thin = await ask("training", job.job_id, "metrics", name="train/loss", points="10")
    assert len(thin["steps"]) == 10
    assert thin["values"][-1] == 1 / 100
    assert (await ask("training", job.job_id, "metrics", name="train/loss", since="98"))["steps"] == [99, 100]


async def test_models_are_listed_and_given(ask, store):
    made = store.models.register(
        "icu",
        path="p",
        file_size=1,
        format="safetensors",
        backbone="resnet18",
        num_classes=2,
        input_shape=[1, 8, 8],
        metrics={"val/auroc": 0.874},
    )
    page = await ask("models")
    assert [model["name"] for model in page["items"]] == ["icu"]
    assert (await ask("models", str(made.id)))["metrics"] == {"val/auroc": 0.874}
    assert (await ask("models", search="x"))["items"] == []


async def test_checkpoints_and_events_of_a_job(ask, refused, store, running_job):
    job = running_job()
    store.checkpoints.add(
        job.job_id, run_token="t", epoch=1, step=9, metrics={"val/auroc": 0.8}, path="p", file_size=5, is_best=True
    )
    (checkpoint,) = (await ask("training", job.job_id, "checkpoints"))["items"]
    assert (checkpoint["epoch"], checkpoint["is_best"], checkpoint["file_size"]) == (1, True, 5)
    events = (await ask("training", job.job_id, "events"))["items"]
    assert [event["kind"] for event in events] == ["created", "status", "status"]
    after = str(events[0]["id"])
    assert len((await ask("training", job.job_id, "events", after=after, limit="1"))["items"]) == 1
    assert (await refused("training", job.job_id, "events", limit="501"))[0] == 400
    for what in ("checkpoints", "events"):
        assert (await refused("training", "job_0999", what))[0] == 404


async def test_versions_and_aliases_of_a_model(ask, refused, store):
    model = {"path": "p", "file_size": 1, "format": "f", "backbone": "b", "num_classes": 2, "input_shape": []}
    first, second = (store.models.register("icu", **model, metrics={}) for _ in range(2))
    assert [one["version"] for one in (await ask("models", str(first.id), "versions"))["items"]] == [2, 1]
    assert (await ask("models", str(first.id), "aliases", "production", method="PUT"))["aliases"] == ["production"]
    await ask("models", str(second.id), "aliases", "production", method="PUT")
    assert (await ask("models", str(first.id)))["aliases"] == []
    assert (await refused("models", str(first.id), "aliases", "v3", method="PUT"))[0] == 400
    assert (await ask("models", str(second.id), "aliases", "production", method="DELETE"))["aliases"] == []
    assert (await refused("models", str(second.id), "aliases", "production", method="DELETE"))[0] == 404


async def test_datasets_are_listed_and_given(ask, refused, store):
    made = store.datasets.save(
        "cxr", data_path="p", fingerprint="a", num_samples=3, num_classes=2, class_distribution={"no": 1, "yes": 2}
    )
    assert [one["name"] for one in (await ask("datasets", search="CX"))["items"]] == ["cxr"]
    assert (await ask("datasets", str(made.id)))["class_distribution"] == {"no": 1, "yes": 2}
    assert (await refused("datasets", "99"))[0] == 404


async def test_health_and_info_show_no_password(ask, store, either_database):
    assert await ask("system", "health", "live") == {"status": "live"}
    assert (await ask("system", "health", "ready"))["status"] == "ready"
    info = await ask("system", "info")
    assert info["database"].startswith(either_database)
    assert "medfusion-jupyter" in info["versions"]


async def test_a_database_that_does_not_answer_is_not_ready(ask, refused, monkeypatch, tmp_path):
    (tmp_path / "broken.db").write_text("no database, " * 100)
    monkeypatch.setenv("MEDFUSION_DATABASE_URL", f"sqlite:///{tmp_path}/broken.db")
    assert (await ask("system", "health", "live"))["status"] == "live"
    code, body = await refused("system", "health", "ready")
    assert (code, body["code"]) == (503, "store")
    assert "broken.db" in body["message"]


async def test_finished_jobs_and_models_are_deleted(ask, refused, store, running_job):
    job = running_job()
    assert (await refused("training", job.job_id, method="DELETE"))[0] == 409
    store.jobs.update_status(job.job_id, "stopped", run_token="t")
    model = store.models.register(
        "icu",
        path=str(home() / "models" / "m"),
        file_size=1,
        format="f",
        backbone="b",
        num_classes=2,
        input_shape=[],
        metrics={},
        job_id=job.job_id,
    )
    code, body = await refused("training", job.job_id, method="DELETE")
    assert (code, "model icu v1" in body["message"]) == (409, True)
    assert await ask("models", str(model.id), method="DELETE") is None
    assert await ask("training", job.job_id, method="DELETE") is None
    assert (await refused("training", "status", job.job_id))[0] == 404


async def test_a_workflow_is_stored_saved_in_versions_restored_and_deleted(ask, refused, store):
    made = await ask("workflows", method="POST", body=json.dumps({"name": "fuse 🫁", "nodes": [{"id": "a"}]}))
    assert (made["name"], made["version"], made["nodes"]) == ("fuse 🫁", 1, [{"id": "a"}])
    path = ("workflows", str(made["id"]))
    saved = await ask(*path, method="PUT", body=json.dumps({"version": 1, "nodes": [], "description": "<b>"}))
    assert (saved["version"], saved["nodes"], saved["name"]) == (2, [], "fuse 🫁")
    # a second client that still sees version 1 loses nothing of the first
    code, body = await refused(*path, method="PUT", body=json.dumps({"version": 1, "name": "mine"}))
    assert (code, "you saw version 1, it is at version 2" in body["message"]) == (409, True)
    back = await ask(*path, "versions", "1", "restore", method="POST")
    assert (back["version"], back["nodes"]) == (3, [{"id": "a"}])
    assert [one["version"] for one in (await ask(*path, "versions"))["items"]] == [3, 2, 1]
    assert (await ask(*path, "versions", "2"))["nodes"] == []
    assert (await refused(*path, "versions", "9"))[0] == 404
    assert (await refused(*path, "versions", "9", "restore", method="POST"))[0] == 404
    other = await ask("workflows", method="POST", body=json.dumps({"name": "other"}))
    assert (
        await refused("workflows", str(other["id"]), method="PUT", body=json.dumps({"version": 1, "name": "fuse 🫁"}))
    )[0] == 409
    assert [one["name"] for one in (await ask("workflows", search="FUSE"))["items"]] == ["fuse 🫁"]
    await ask(*path, method="DELETE")
    assert (await refused(*path))[0] == 404
    assert [event.kind for event in store.events.list(entity="workflow", entity_id=str(made["id"]))] == [
        "created", "updated", "restored", "deleted"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ("{", 400, None),
        ("", 400, None),
        ("[]", 422, None),
        ('{"nodes": []}', 422, "name"),
        ('{"name": ""}', 422, "name"),
        ('{"name": "  "}', 422, "name"),
        (json.dumps({"name": "x" * 10_000}), 422, "name"),
        ('{"name": 7}', 422, "name"),
        ('{"name": "a", "colour": 1}', 422, "colour"),
        ('{"name": "a", "nodes": {}}', 422, "nodes"),
        ('{"name": "a", "nodes": [1]}', 422, "nodes.0"),
        (json.dumps({"name": "a", "description": "x" * 11_000_000}), 413, None),
    ],
)
async def test_a_body_that_cannot_be_is_refused_by_field_and_nothing_is_stored(ask, refused, body, code, field):
    answer = await refused("workflows", method="POST", body=body)
    assert (answer[0], answer[1]["field"]) == (code, field)
    assert (await ask("workflows"))["items"] == []
