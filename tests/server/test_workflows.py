"""Workflows over REST: checked, executed by a real server in a kernel of its own, watched node by node, stopped."""

import json
import os
import signal
import urllib.error

import psutil
import pytest
from graphs import study
from patience import wait_for
from tornado.httpclient import HTTPClientError

import medfusion as mf
from medfusion_jupyter.store import UnknownId, open_store

API = "medfusion/api/workflows"


@pytest.fixture
def ask(jp_fetch):
    async def fetch(*path, method="GET", body=None, **params):
        if method in ("POST", "PUT"):
            body = "" if body is None else json.dumps(body)
        answer = await jp_fetch(
            "medfusion", "api", "workflows", *map(str, path), method=method, params=params, body=body
        )
        return json.loads(answer.body) if answer.body else None

    return fetch


@pytest.fixture
def refused(ask):
    async def fetch(*path, **more):
        with pytest.raises(HTTPClientError) as caught:
            await ask(*path, **more)
        body = json.loads(caught.value.response.body)
        assert set(body) == {"code", "message", "field"}
        return caught.value.code, body["message"]

    return fetch


@pytest.fixture
def flow(store):
    return store.workflows.create("study", **study())


async def test_the_catalogue_has_a_schema_for_each_form(ask):
    types = {one["name"]: one for one in (await ask("nodes"))["items"]}
    assert types["train"]["inputs"][0]["type"] == "split"
    assert types["train"]["settings"]["properties"]["epochs"]["minimum"] == 1


async def test_a_graph_is_checked_without_being_stored(ask, refused, store):
    assert await ask("validate", method="POST", body=study()) == {"issues": []}
    bad = study(epochs=0)
    bad["edges"].pop()
    issues = (await ask("validate", method="POST", body=bad))["issues"]
    assert {(one["node"], one["port"], one["setting"]) for one in issues} == {
        ("fit", None, "epochs"),
        ("report", "model", None),
    }
    assert (await refused("validate", method="POST", body={"nodes": 3}))[0] == 422
    assert store.workflows.list().items == []


async def test_a_graph_that_holds_what_is_no_json_is_answered_as_json_and_has_an_issue(jp_fetch, ask, refused, store):
    graph = study()
    graph["nodes"][0]["settings"] = {"n": float("nan")}  # json.dumps sends it, and Python stores it
    made = await ask(method="POST", body={"name": "nan", **graph})
    assert b"NaN" not in (await jp_fetch("medfusion", "api", "workflows")).body
    assert "'n'" in (await refused(made["id"], "execute", method="POST"))[1]


async def test_a_workflow_with_issues_is_not_executed_and_the_issues_are_told(refused, ask, store, flow):
    store.workflows.update(flow.id, seen_version=1, **study(epochs=0))
    code, words = await refused(flow.id, "execute", method="POST")
    assert code == 422
    assert "'fit': epochs" in words
    assert (await refused(99, "execute", method="POST"))[0] == 404
    assert (await refused(flow.id, "execute", method="POST", version=7))[0] == 404
    assert (await refused(flow.id, "execute", method="POST", version=0))[0] == 400
    assert store.executions.list().items == []


async def test_the_list_of_workflows_tells_how_the_newest_execution_of_each_stands(ask, store, flow, here):
    store.workflows.create("never run", **study())
    store.executions.create(flow.id)
    newest = store.executions.create(flow.id)
    store.executions.claim(newest.id, run_token="r", **here)
    first = flow.nodes[0]["id"]
    store.executions.move_node(newest.id, first, "running", run_token="r")
    store.executions.move_node(newest.id, first, "completed", run_token="r")

    async def last():
        return {one["name"]: one["last_execution"] for one in (await ask())["items"]}

    told = await last()
    assert told["never run"] is None
    assert (told["study"]["id"], told["study"]["status"]) == (newest.id, "running")
    assert told["study"]["nodes"] == {"completed": 1, "pending": len(flow.nodes) - 1}
    store.executions.finish(newest.id, "failed", run_token="r", error="failed: fit")
    told = await last()
    assert (told["study"]["status"], told["study"]["error"]) == ("failed", "failed: fit")
    assert told["study"]["nodes"] == {"completed": 1, "skipped": len(flow.nodes) - 1}


async def test_executions_are_listed_shown_and_deleted(ask, refused, store, flow, here):
    made = [store.executions.create(flow.id) for _ in range(3)]
    store.executions.claim(made[0].id, run_token="t", **here)
    page = await ask(flow.id, "executions", limit=2)
    assert [one["id"] for one in page["items"]] == [made[2].id, made[1].id]
    rest = await ask(flow.id, "executions", limit=2, cursor=page["next"])
    assert ([one["status"] for one in rest["items"]], rest["next"]) == (["running"], None)
    assert len((await ask(flow.id, "executions", status="pending"))["items"]) == 2
    one = await ask("executions", made[0].id)
    assert [node["node_id"] for node in one["nodes"]] == ["report", "fit", "parts", "patients"]
    assert "run_token" not in one
    assert (await refused("executions", made[0].id, method="DELETE"))[0] == 409
    assert (await ask("executions", made[1].id, "stop", method="POST"))["status"] == "stopped"
    assert (await refused("executions", made[1].id, "stop", method="POST"))[0] == 409
    await ask("executions", made[1].id, method="DELETE")
    for path in ((99, "executions"), ("executions", made[1].id)):
        assert (await refused(*path))[0] == 404
    with pytest.raises(UnknownId):
        store.executions.get(made[1].id)


async def test_two_versions_are_compared(ask, refused, store, flow):
    store.workflows.update(flow.id, seen_version=1, **study(epochs=3))
    diff = await ask(flow.id, "versions", 1, "diff", 2)
    assert diff["nodes_changed"] == [{"id": "fit", "changes": [{"name": "settings.epochs", "before": 2, "after": 3}]}]
    assert (diff["nodes_added"], diff["edges_removed"]) == ([], [])
    assert (await refused(flow.id, "versions", 1, "diff", 9))[0] == 404


async def test_what_is_answered_is_what_the_document_says(ask, store, flow, here):
    from medfusion_jupyter.server import answers

    execution = store.executions.create(flow.id)
    store.workflows.update(flow.id, seen_version=1, **study(epochs=3))
    answers.NodeTypeList.model_validate(await ask("nodes"))
    answers.IssueList.model_validate(await ask("validate", method="POST", body={"nodes": [{}]}))
    answers.ExecutionPage.model_validate(await ask(flow.id, "executions"))
    answers.ExecutionWithNodes.model_validate(await ask("executions", execution.id))
    answers.WorkflowDiff.model_validate(await ask(flow.id, "versions", 1, "diff", 2))


def until_ended(execution_id):
    def told():
        return open_store().executions.get(execution_id), open_store().executions.node_runs(execution_id)

    wait_for(lambda: not told()[0].is_active, lambda: str(told()), 120)
    done, runs = told()
    return done, {run.node_id: run for run in runs}


def until_it_trains(execution_id):
    """The id of the job, once it has finished an epoch."""

    def job_id():
        noted = {run.node_id: run.output for run in open_store().executions.node_runs(execution_id)}["fit"]
        return noted and open_store().jobs.history(noted["job_id"]) and noted["job_id"]

    return wait_for(job_id, lambda: str(open_store().executions.node_runs(execution_id)))


def test_a_server_executes_a_study_to_its_end_in_a_kernel_that_then_goes(start_server):
    running = start_server()
    flow = running.ask("POST", API, {"name": "study", **study()})
    made = running.ask("POST", f"{API}/{flow['id']}/execute")
    assert (made["status"], made["version"]) == ("pending", 1)
    done, runs = until_ended(made["id"])
    assert done.status == "completed", (done.error, runs)
    assert done.kernel_id is not None
    assert done.launched_at is not None
    assert {run.status for run in runs.values()} == {"completed"}
    times = [(runs[name].started_at, runs[name].completed_at) for name in ("patients", "parts", "fit", "report")]
    assert times == sorted(times)
    job = open_store().jobs.get(runs["fit"].output["job_id"])
    assert (job.status, job.workflow_execution_id, job.kernel_id) == ("completed", done.id, done.kernel_id)
    assert runs["report"].output["auroc"]["value"] == mf.evaluate(mf.load_job(job.job_id).model).auroc.value
    after = running.ask("GET", f"{API}/{flow['id']}")
    assert after["execution_count"] == 1
    assert after["last_executed_at"] == running.ask("GET", f"{API}/executions/{done.id}")["started_at"]
    launched = [event.entity_id for event in open_store().events.list(entity="execution") if event.kind == "launched"]
    assert launched == [str(done.id)]
    wait_for(lambda: not running.kernels(), "the kernel of the finished execution is still there")
    with pytest.raises(urllib.error.HTTPError) as caught:
        running.ask("DELETE", f"{API}/executions/{done.id}")
    assert caught.value.code == 409


def test_an_execution_outlives_its_server_is_not_started_again_and_stops_when_asked(start_server):
    first = start_server()
    flow = first.ask("POST", API, {"name": "study", **study(epochs=5000)})
    made = first.ask("POST", f"{API}/{flow['id']}/execute")
    waiting = first.ask("POST", f"{API}/{flow['id']}/execute")
    job_id = until_it_trains(made["id"])
    pid = open_store().executions.get(made["id"]).pid
    first.kill()
    second = start_server()
    seen = second.ask("GET", f"{API}/executions/{made['id']}")
    assert (seen["status"], seen["pid"]) == ("running", pid)
    assert second.ask("GET", "medfusion/api/system/resources")["jobs_waiting"] == 1
    # one place: the other one waits until this one has ended
    assert second.ask("GET", f"{API}/executions/{waiting['id']}")["status"] == "pending"
    assert second.ask("POST", f"{API}/executions/{waiting['id']}/stop")["status"] == "stopped"
    second.ask("POST", f"{API}/executions/{made['id']}/stop")
    done, runs = until_ended(made["id"])
    assert (done.status, runs["fit"].status, runs["report"].status) == ("stopped", "stopped", "stopped")
    assert open_store().jobs.get(job_id).status == "stopped"
    wait_for(lambda: not psutil.pid_exists(pid), "the kernel without a server did not end")
    assert open_store().workflows.get(flow["id"]).execution_count == 1


def test_a_killed_kernel_is_noticed_and_frees_its_place(start_server):
    running = start_server()
    flow = running.ask("POST", API, {"name": "study", **study(epochs=5000)})
    made = running.ask("POST", f"{API}/{flow['id']}/execute")
    job_id = until_it_trains(made["id"])
    os.kill(open_store().executions.get(made["id"]).pid, signal.SIGKILL)
    done, runs = until_ended(made["id"])
    assert done.status == "interrupted"
    assert "is gone" in done.error
    assert [runs[name].status for name in ("patients", "parts", "fit", "report")] == [
        "completed",
        "completed",
        "interrupted",
        "interrupted",
    ]
    wait_for(lambda: open_store().jobs.get(job_id).status == "interrupted", "the job of a dead kernel goes on")
    assert running.ask("GET", "medfusion/api/system/resources")["jobs_running"] == 0


def test_an_interrupt_of_the_kernel_stops_its_execution(start_server):
    running = start_server()
    flow = running.ask("POST", API, {"name": "study", **study(epochs=5000)})
    made = running.ask("POST", f"{API}/{flow['id']}/execute")
    until_it_trains(made["id"])
    running.ask("POST", f"api/kernels/{open_store().executions.get(made['id']).kernel_id}/interrupt")
    done, runs = until_ended(made["id"])
    assert (done.status, runs["fit"].status, runs["report"].status) == ("stopped", "stopped", "stopped")
    wait_for(lambda: not running.kernels(), "the kernel of the stopped execution is still there")
