"""Several people at one server: rows are whose they are, changes leave a trail, and of two changes at once none is lost."""

import asyncio
import json

import pytest
from identities import People
from rows import DATASET, JOB, MODEL

from medfusion_jupyter.store.tables import EventRow


@pytest.fixture
def jp_server_config(jp_server_config):
    jp_server_config["ServerApp"]["identity_provider_class"] = People
    jp_server_config["MedFusionApp"]["admins"] = ["root-admin"]
    return jp_server_config


@pytest.fixture
def adas(store, medfusion_home):
    """One row of each kind, all of ada; the changes that others may try: (verb, path, body)."""
    job = store.jobs.create("job", **JOB, by="ada")
    folder = medfusion_home / "models" / "m"
    folder.mkdir(parents=True)
    model = store.models.register("model", **{**MODEL, "path": str(folder)}, by="ada")
    aliased = store.models.register("aliased", **MODEL, by="ada")
    store.models.set_alias("aliased", "production", 1, by="ada")
    dataset = store.datasets.save("dataset", **DATASET, by="ada")
    workflow = store.workflows.create("workflow", by="ada")

    def seen(one):
        return one.updated_at.isoformat()

    return [
        ("PATCH", f"training/{job.job_id}", {"name": "new", "seen": {"name": job.name}}),
        ("POST", f"training/stop/{job.job_id}", None),
        ("DELETE", f"training/{job.job_id}", None),
        ("PATCH", f"models/{model.id}", {"updated_at": seen(model), "description": "new"}),
        ("PUT", f"models/{model.id}/aliases/staging", None),
        ("DELETE", f"models/{model.id}/aliases/staging", None),
        ("DELETE", f"models/{aliased.id}/aliases/production", None),
        ("DELETE", f"models/{model.id}", None),
        ("PATCH", f"datasets/{dataset.id}", {"updated_at": seen(dataset), "description": "new"}),
        ("DELETE", f"datasets/{dataset.id}", None),
        ("PUT", f"workflows/{workflow.id}", {"version": 1, "description": "new"}),
        ("POST", f"workflows/{workflow.id}/versions/1/restore", None),
        ("DELETE", f"workflows/{workflow.id}", None),
    ]


async def test_what_one_person_makes_is_theirs_by_the_name_that_jupyter_knows(ask, store):
    made = await ask("workflows", method="POST", body={"name": "fuse"}, who="grace")
    assert made["created_by"] == "grace"
    assert (await ask("workflows", str(made["id"]), who="ada"))["created_by"] == "grace"
    assert [event.actor for event in store.events.list()] == ["grace"]
    info = await ask("system", "info", who="grace")
    assert (info["person"], info["is_admin"]) == ("grace", False)
    assert (await ask("system", "info", who="root-admin"))["is_admin"] is True


async def test_who_is_nobody_gets_nothing(fetch, adas):
    for path in ("training/list", "models", "datasets", "workflows", "system/audit", "openapi.json", "nothing"):
        assert (await fetch(path, who="mallory")).code == 403
    for verb, path, body in adas:
        assert (await fetch(path, verb, body, who="mallory")).code == 403


async def test_somebody_elses_rows_can_be_seen_and_not_changed(fetch, store, adas):
    before = store.events.list()
    for verb, path, body in adas:
        if path.endswith("aliases/staging") and verb == "DELETE":
            continue  # there is none yet
        answer = await fetch(path, verb, body, who="grace")
        told = json.loads(answer.body)
        assert (answer.code, told["code"]) == (403, "not-yours"), (verb, path)
        assert "belongs to ada" in told["message"]
    assert store.events.list() == before
    for path in ("training/status/job_0001", "models/1", "datasets/1", "workflows/1"):
        assert (await fetch(path, who="grace")).code == 200


@pytest.mark.parametrize("who", ["ada", "root-admin"])
async def test_the_owner_and_an_admin_of_the_configuration_may_change_and_delete(fetch, store, adas, who):
    for verb, path, body in adas:
        last = store.events.last_id()
        answer = await fetch(path, verb, body, who=who)
        assert answer.code in (200, 204), (verb, path, answer.body)
        # who, when and what of every change
        (event,) = store.events.list(last)
        kind, row = path.split("/")[0], path.split("/")[2 if path.startswith("training/stop") else 1]
        assert event.actor == who
        assert (event.entity, event.entity_id) == ({"training": "job"}.get(kind, kind.removesuffix("s")), row)


async def test_the_trail_can_be_read_by_who_and_what_and_by_nobody_changed(ask, fetch, store, adas):
    for verb, path, body in adas:
        await fetch(path, verb, body, who="root-admin")
    trail = (await ask("system", "audit", who="grace", limit="500"))["items"]
    assert [event["id"] for event in trail] == sorted((event["id"] for event in trail), reverse=True)
    assert len(trail) == store.events.last_id()
    assert all(event["at"].endswith("Z") and event["actor"] in ("ada", "root-admin") for event in trail)
    found = (await ask("system", "audit", who="ada", actor="root-admin", entity="workflow"))["items"]
    assert [event["kind"] for event in found] == ["deleted", "restored", "updated"]
    assert (await ask("system", "audit", who="ada", kind="aliased", entity_id="1"))["items"][0]["data"] == {
        "name": "model", "alias": "staging", "version": 1
    }  # fmt: skip
    for verb in ("POST", "PUT", "PATCH", "DELETE"):
        for path in (
            "system/audit",
            "system/audit/1",
            "training/job_0001/events",
            "training/job_0001/events/1",
            "feed",
        ):
            assert (await fetch(path, verb, who="root-admin")).code in (403, 404, 405)
    assert (await ask("system", "audit", who="grace", limit="500"))["items"] == trail


async def test_nothing_of_the_store_changes_or_deletes_an_event(store, adas):
    assert {name for name in dir(store.events) if not name.startswith("_")} == {"last_id", "list", "page"}
    # an event outlives what it tells of
    job = store.jobs.create("gone", **JOB, by="ada")
    store.jobs.request(job.job_id, "stop", by="ada")
    before = store.events.list()
    store.jobs.delete(job.job_id, by="ada")
    assert store.events.list()[:-1] == before
    with store.reading() as session:
        assert not EventRow.__table__.foreign_keys
        assert session.get(EventRow, before[-1].id) is not None


ROWS = {
    "models": ("PATCH", lambda store: store.models.register("one", **MODEL, by="ada")),
    "datasets": ("PATCH", lambda store: store.datasets.save("one", **DATASET, by="ada")),
    "workflows": ("PUT", lambda store: store.workflows.create("one", by="ada")),
}


@pytest.mark.parametrize("kind", ROWS)
async def test_of_two_changes_made_on_one_state_the_second_is_refused_and_neither_is_lost(ask, refused, store, kind):
    verb, make = ROWS[kind]
    path = (kind, str(make(store).id))
    seen = await ask(*path, who="ada")
    state = {"version": seen["version"]} if kind == "workflows" else {"updated_at": seen["updated_at"]}
    first = await ask(*path, method=verb, body={**state, "description": "the first"}, who="ada")
    assert first["description"] == "the first"
    second = {"tags": ["the second"]} if kind != "workflows" else {"nodes": [{"id": "the second"}]}
    code, told = await refused(*path, method=verb, body={**state, **second}, who="root-admin")
    assert (code, told["code"]) == (409, "not-now")
    assert "was changed meanwhile" in told["message"]
    assert await ask(*path, who="ada") == first
    now = {key: first[key] for key in state}
    both = await ask(*path, method=verb, body={**now, **second}, who="root-admin")
    assert (both["description"], both[next(iter(second))]) == ("the first", next(iter(second.values())))
    assert both["created_by"] == "ada"


@pytest.mark.parametrize("kind", ROWS)
async def test_of_many_changes_at_once_exactly_one_is_taken(ask, fetch, store, kind):
    verb, make = ROWS[kind]
    path = f"{kind}/{make(store).id}"
    seen = await ask(*path.split("/"), who="ada")
    state = {"version": seen["version"]} if kind == "workflows" else {"updated_at": seen["updated_at"]}
    answers = await asyncio.gather(
        *(fetch(path, verb, {**state, "description": f"change {n}"}, who="ada") for n in range(8))
    )
    assert sorted(answer.code for answer in answers) == [200, *[409] * 7]
    (taken,) = (json.loads(answer.body) for answer in answers if answer.code == 200)
    assert (await ask(*path.split("/"), who="ada"))["description"] == taken["description"]
    assert [event.kind for event in store.events.list()].count("updated") == 1


async def test_a_name_that_many_ask_for_at_once_is_given_to_one(fetch, store):
    answers = await asyncio.gather(*(fetch("workflows", "POST", {"name": "mine"}, who="grace") for _ in range(8)))
    assert sorted(answer.code for answer in answers) == [201, *[409] * 7]
    assert [one.name for one in store.workflows.list().items] == ["mine"]
