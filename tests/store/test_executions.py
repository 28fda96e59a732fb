"""Executions of workflows: made of a version, owned by one run, moved node by node, never lost and never half done."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medfusion_jupyter.server.launchable import Launchable
from medfusion_jupyter.store import IllegalTransition, RunReplaced, StoreError, UnknownId, WorkflowVersion, difference
from medfusion_jupyter.store.errors import BadValue, InUse, NotYours
from medfusion_jupyter.store.execution_moves import find_execution
from medfusion_jupyter.store.paging import BadCursor


@pytest.fixture
def flow(store):
    """A workflow of three nodes."""
    return store.workflows.create("flow", nodes=[{"id": name} for name in ("a", "b", "c")], by="eve")


@pytest.fixture
def running(store, flow, here):
    """Make an execution that a run of this process owns under the token `t`."""

    def make(**more):
        made = store.executions.create(flow.id, **more)
        return store.executions.claim(made.id, run_token="t", **here)

    return make


def nodes(store, execution):
    return {node.node_id: str(node.status) for node in store.executions.node_runs(execution.id)}


def move(store, execution, node, *statuses, **more):
    for status in statuses:
        found = store.executions.move_node(execution.id, node, status, run_token="t", **more)
    return found


def test_an_execution_is_of_a_version_and_has_a_pending_run_of_each_node(store, flow):
    made = store.executions.create(flow.id, by="bob")
    assert (made.status, made.version, made.created_by, made.started_at) == ("pending", 1, "bob", None)
    assert nodes(store, made) == dict.fromkeys("abc", "pending")
    store.workflows.update(flow.id, seen_version=1, nodes=[{"id": "z"}], by="eve")
    assert nodes(store, store.executions.create(flow.id)) == {"z": "pending"}
    assert nodes(store, store.executions.create(flow.id, version=1)) == dict.fromkeys("abc", "pending")
    assert store.workflows.get(flow.id).execution_count == 0
    with pytest.raises(UnknownId, match=r"no version of the workflow flow 3.*2, 1"):
        store.executions.create(flow.id, version=3)
    with pytest.raises(UnknownId, match="no workflow"):
        store.executions.create(99)


@pytest.mark.parametrize("bad", [[], [{}], [{"id": 3}], [{"id": "a"}, {"id": "a"}], [{"id": "x" * 201}], [{"id": ""}]])
def test_a_graph_without_nodes_of_their_own_ids_is_not_executed(store, flow, bad):
    store.workflows.update(flow.id, seen_version=1, nodes=bad, by="eve")
    with pytest.raises(BadValue, match="nodes"):
        store.executions.create(flow.id)
    assert store.executions.list().items == []


def test_a_run_is_counted_when_it_begins_and_says_how_long_it_took(store, flow, running):
    execution = running()
    for node in "abc":
        move(store, execution, node, "running", "completed")
    done = store.executions.finish(execution.id, "completed", run_token="t")
    assert done == store.executions.get(execution.id)
    assert (done.status, done.result) == ("completed", {"nodes": {"completed": 3}})
    assert done.duration == (done.completed_at - done.started_at).total_seconds()
    workflow = store.workflows.get(flow.id)
    assert (workflow.execution_count, workflow.last_executed_at) == (1, done.started_at)
    assert (workflow.version, workflow.updated_at) == (flow.version, flow.updated_at)


def test_each_step_is_an_event(store, running):
    execution = running(by="bob")
    node = move(store, execution, "a", "running")
    store.executions.note_node(execution.id, "a", {"rows": 3}, run_token="t")
    move(store, execution, "a", "failed", error="no \0 disk")
    found = [event for event in store.events.list() if event.entity in ("execution", "node")]
    assert [(event.entity, event.kind, event.data.get("to")) for event in found] == [
        ("execution", "created", None),
        ("execution", "status", "running"),
        ("node", "status", "running"),
        ("node", "noted", None),
        ("node", "status", "failed"),
    ]
    assert {event.actor for event in found} == {"bob"}
    assert found[-1].entity_id == str(node.id)
    assert found[-1].data["node_id"] == "a"
    assert found[-1].data["error"] == r"no \0 disk"
    (kept, *_) = store.executions.node_runs(execution.id)
    assert (kept.output, kept.error, kept.started_at) == ({"rows": 3}, r"no \0 disk", node.started_at)


def test_only_the_run_that_owns_it_writes(store, running, here):
    execution = running()
    with pytest.raises(IllegalTransition):
        store.executions.claim(execution.id, run_token="u", **here)
    for write in (
        lambda: store.executions.move_node(execution.id, "a", "running", run_token="u"),
        lambda: store.executions.note_node(execution.id, "a", {}, run_token="u"),
        lambda: store.executions.finish(execution.id, "completed", run_token="u"),
    ):
        with pytest.raises(RunReplaced):
            write()
    with store.writing() as session:
        assert store.executions.beat_in(session, execution.id, "u") is None
        assert store.executions.beat_in(session, execution.id, "t").id == execution.id


def test_moves_that_a_status_does_not_allow_are_refused(store, running):
    execution = running()
    for wanted in ("completed", "failed", "stopped", "pending", "interrupted"):
        with pytest.raises(IllegalTransition):
            move(store, execution, "a", wanted)
    with pytest.raises(UnknownId, match="a, b, c"):
        move(store, execution, "d", "running")
    with pytest.raises(IllegalTransition):
        store.executions.finish(execution.id, "interrupted", run_token="t")
    store.executions.finish(execution.id, "failed", run_token="t", error="why")
    with pytest.raises(IllegalTransition):
        store.executions.finish(execution.id, "completed", run_token="t")


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("failed", {"a": "completed", "b": "failed", "c": "skipped"}),
        ("stopped", {"a": "completed", "b": "stopped", "c": "stopped"}),
    ],
)
def test_the_end_ends_every_node(store, running, status, left):
    execution = running()
    move(store, execution, "a", "running", "completed")
    move(store, execution, "b", "running")
    done = store.executions.finish(execution.id, status, run_token="t")
    assert nodes(store, execution) == left
    assert sum(done.result["nodes"].values()) == 3
    assert all(node.completed_at for node in store.executions.node_runs(execution.id))


def test_a_stop_waits_for_the_run_and_what_has_none_is_stopped_at_once(store, flow, running, here):
    waiting = store.executions.create(flow.id, queued=True)
    assert store.executions.request_stop(waiting.id).status == "stopped"
    assert nodes(store, waiting) == dict.fromkeys("abc", "stopped")
    with pytest.raises(IllegalTransition):
        store.executions.claim(waiting.id, run_token="t", launched=True, **here)
    assert store.queue.launch_next(1, 0) is None
    execution = running()
    asked = store.executions.request_stop(execution.id)
    assert asked.status == "running"
    with store.writing() as session:
        seen = store.executions.beat_in(session, execution.id, "t")
    assert seen.stop_requested_at == asked.stop_requested_at is not None


def test_only_its_owner_or_an_admin_stops_and_deletes_it(store, flow):
    made = store.executions.create(flow.id, by="bob")
    for verb in (store.executions.request_stop, store.executions.delete):
        with pytest.raises(NotYours, match="belongs to bob"):
            verb(made.id, by="eve")
    assert store.executions.request_stop(made.id, by="ada").status == "stopped"
    store.executions.delete(made.id, by="bob")
    with pytest.raises(UnknownId):
        store.executions.get(made.id)


def test_what_is_at_work_or_has_a_job_is_not_deleted(store, flow, running, new_job):
    execution = running()
    with pytest.raises(IllegalTransition, match="running"):
        store.executions.delete(execution.id)
    with pytest.raises(InUse, match=f"execution {execution.id} at work"):
        store.workflows.delete(flow.id, by="eve")
    job = new_job(status="stopped", workflow_execution_id=execution.id)
    assert store.jobs.get(job.job_id).workflow_execution_id == execution.id
    store.executions.finish(execution.id, "stopped", run_token="t")
    with pytest.raises(InUse, match=job.job_id):
        store.executions.delete(execution.id)
    store.jobs.delete(job.job_id)
    store.executions.delete(execution.id)
    assert store.executions.list().items == []
    with pytest.raises(StoreError):
        store.executions.node_runs(execution.id)
    store.workflows.delete(flow.id, by="eve")


def test_pages_hold_every_execution_of_a_workflow_once_newest_first(store, flow):
    other = store.workflows.create("other", nodes=[{"id": "n"}])
    made = [store.executions.create(flow.id).id for _ in range(5)]
    store.executions.create(other.id)
    found, cursor = [], None
    while True:
        page = store.executions.list(workflow_id=flow.id, limit=2, cursor=cursor)
        found += [one.id for one in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert found == made[::-1]
    store.executions.request_stop(made[0])
    assert [one.id for one in store.executions.list(status="stopped").items] == [made[0]]
    with pytest.raises(BadCursor):
        store.executions.list(cursor="x")


def test_a_job_of_several_devices_waits_for_so_many_places_and_gets_neighbouring_gpus(store, new_job):
    jobs = [
        new_job(name, training_config={"devices": devices})
        for name, devices in (("a", 1), ("b", 2), ("c", 3), ("d", 1))
    ]
    for job in jobs:
        store.queue.add(job.job_id)

    def launched():
        given = store.queue.launch_next(3, 3)
        return given and (given.name, given.gpu)

    assert (launched(), launched()) == (("a", 0), ("b", 1))
    assert launched() is None  # all three GPUs are taken, and d does not overtake c
    for job in jobs[:2]:
        store.jobs.request(job.job_id, "stop")
    assert (launched(), launched()) == (("c", 0), None)
    store.jobs.request(jobs[2].job_id, "stop")
    # more devices than this host has places for: its run says so
    wide = new_job("wide", training_config={"devices": 9})
    store.queue.add(wide.job_id, priority=1)
    assert (launched(), launched()) == (("wide", 0), None)


def test_an_execution_with_a_training_of_two_devices_takes_two_gpus(store):
    def flow(name, *devices):
        nodes = [{"id": f"n{k}", "type": "train", "settings": {"devices": one}} for k, one in enumerate(devices)]
        return store.workflows.create(name, nodes=[*nodes, {"id": "last", "type": "note"}], edges=[]).id

    wide = store.executions.create(flow("wide", 1, 2), queued=True)
    narrow = store.executions.create(flow("narrow", "two", True, 10**9), queued=True)  # no numbers of devices
    assert (wide.devices, narrow.devices) == (2, 1)
    assert store.queue.launch_next(3, 3).id == wide.id
    launched = store.queue.launch_next(3, 3)
    assert (launched.id, launched.gpu, store.queue.at_work()) == (narrow.id, 2, 2)
    given = Launchable.of(store.executions.get(wide.id)).environment(["a", "b", "c"])
    assert given["CUDA_VISIBLE_DEVICES"] == "a,b"
    store.executions.create(flow("third", 1), queued=True)
    assert store.queue.launch_next(3, 3) is None


def test_the_queue_gives_each_once_and_jobs_and_executions_share_its_places(store, flow, new_job, here):
    first = store.executions.create(flow.id, queued=True)
    job, urgent, late = new_job("job"), new_job("urgent"), new_job("late")
    for one, priority in ((job, 0), (urgent, 1), (late, -1)):
        store.queue.add(one.job_id, priority=priority)
    second = store.executions.create(flow.id, queued=True)
    store.executions.create(flow.id)  # of a notebook: nobody launches it
    assert store.queue.executions_waiting() == 2
    order = []
    for place in range(1, 6):
        launched = store.queue.launch_next(place, 2)
        order.append(getattr(launched, "job_id", None) or launched.id)
        assert store.queue.at_work() == place
        assert store.queue.launch_next(place, 2) is None
    assert order == [urgent.job_id, first.id, job.job_id, second.id, late.job_id]
    assert store.executions.get(first.id).gpu == 1
    assert store.queue.launch_next(9, 2) is None
    claimed = store.executions.claim(first.id, run_token="t", launched=True, **here)
    assert claimed.launched_at is not None
    store.executions.finish(first.id, "stopped", run_token="t")
    assert store.queue.at_work() == 4
    store.executions.not_begun(second.id, store.executions.get(second.id).launched_at, "no kernel")
    failed = store.executions.get(second.id)
    assert (failed.status, failed.error) == ("failed", "no kernel")
    assert nodes(store, second) == dict.fromkeys("abc", "skipped")


def _silent_since(store, execution, seconds, **changes):
    with store.writing() as session:
        row = find_execution(session, execution.id)
        row.heartbeat_at -= dt.timedelta(seconds=seconds)
        for name, value in changes.items():
            setattr(row, name, value)


def test_a_killed_process_is_noticed_with_its_nodes(store, running):
    execution = running()
    move(store, execution, "a", "running", "completed")
    move(store, execution, "b", "running")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _silent_since(store, execution, 4, pid=process.pid, process_started=psutil.Process(process.pid).create_time())
    assert store.executions.get(execution.id).status == "running"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (found,) = store.executions.list().items
    assert (found.status, "is gone" in found.error) == ("interrupted", True)
    assert nodes(store, execution) == {"a": "completed", "b": "interrupted", "c": "interrupted"}
    assert store.executions.mark_interrupted() == []


def test_a_process_that_was_only_silent_comes_back_where_it_was(store, running):
    execution = running()
    move(store, execution, "a", "running", "completed")
    move(store, execution, "b", "running")
    _silent_since(store, execution, 100)
    assert store.executions.get(execution.id).status == "interrupted"
    with store.writing() as session:
        assert store.executions.beat_in(session, execution.id, "t").status == "running"
    back = store.executions.get(execution.id)
    assert (back.status, back.error, back.completed_at, back.result) == ("running", None, None, None)
    assert nodes(store, execution) == {"a": "completed", "b": "running", "c": "pending"}
    _silent_since(store, execution, 100)
    store.executions.mark_interrupted()
    move(store, execution, "b", "completed")  # also where it writes before its next heartbeat
    assert store.executions.get(execution.id).status == "running"


def test_one_that_waits_for_its_turn_is_not_gone_and_one_whose_kernel_never_came_is(store, flow):
    made = store.executions.create(flow.id, queued=True)
    with store.writing() as session:
        find_execution(session, made.id).created_at -= dt.timedelta(days=1)
    assert store.executions.get(made.id).status == "pending"
    store.queue.launch_next(1, 0)
    assert store.executions.get(made.id).status == "pending"
    with store.writing() as session:
        find_execution(session, made.id).launched_at -= dt.timedelta(hours=1)
    found = store.executions.get(made.id)
    assert (found.status, found.error) == ("interrupted", "its kernel never began it")
    assert store.queue.at_work() == 0


def version(number, nodes, edges=()):
    return WorkflowVersion(number, nodes, list(edges), dt.datetime.now(dt.UTC), None)


def test_the_difference_of_two_versions_names_what_came_went_and_changed():
    edges = [{"source": "a", "target": "b"}, {"source": "b", "target": "c"}]
    before = version(1, [{"id": "a", "type": "x", "settings": {"lr": 1, "n": 1}}, {"id": "b"}, {"id": "c"}], edges)
    after = version(
        4,
        [
            {"id": "a", "type": "y", "settings": {"lr": True, "n": 1.0, "k": None}, "position": [1]},
            {"id": "d"},
            {"id": "b"},
        ],
        [edges[0], {"source": "a", "target": "d"}],
    )
    diff = difference(before, after).to_json()
    assert (diff["before"], diff["after"]) == (1, 4)
    assert (diff["nodes_added"], diff["nodes_removed"]) == ([{"id": "d"}], [{"id": "c"}])
    (changed,) = diff["nodes_changed"]
    assert changed["id"] == "a"
    assert [(one["name"], one["before"], one["after"]) for one in changed["changes"]] == [
        ("type", "x", "y"),
        ("settings.lr", 1, True),
        ("settings.k", None, None),
        ("position", None, [1]),
    ]
    assert (diff["edges_added"], diff["edges_removed"]) == ([{"source": "a", "target": "d"}], [edges[1]])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NODES = st.lists(st.dictionaries(st.sampled_from(["id", "type", "settings", "x"]), JSON, max_size=4), max_size=4)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NODES, NODES, NODES, NODES)
def test_a_version_does_not_differ_from_itself_and_the_way_back_is_the_way_turned_round(old, new, old_edges, new_edges):
    before, after = version(1, old, old_edges), version(2, new, new_edges)
    there_is = ("nodes_added", "nodes_removed", "nodes_changed", "edges_added", "edges_removed")
    assert difference(before, before).to_json() == {
        **{name: [] for name in there_is},
        "before": 1,
        "after": 1,
    }
    there, back = difference(before, after), difference(after, before)
    json.dumps(there.to_json())
    assert there.nodes_added == back.nodes_removed
    assert there.edges_removed == back.edges_added
    assert len(there.nodes_changed) == len(back.nodes_changed)
