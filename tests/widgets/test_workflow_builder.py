"""The kernel's side of the workflow editor: what it answers, and what it tells of executions."""

import time

import pytest

import medfusion as mf
from medfusion_jupyter.store.errors import Conflict
from medfusion_jupyter.widgets import workflow_builder
from medfusion_jupyter.widgets.edited_workflow import EditedWorkflow

SYNTHETIC = {"id": "synthetic", "type": "source.synthetic", "settings": {"n": 40}, "position": {"x": 8, "y": 16}}
SPLIT = {"id": "split", "type": "cohort.split", "settings": {}}
EDGE = {"source": "synthetic", "source_port": "cohort", "target": "split", "target_port": "cohort"}


def ended(edited):
    """The newest execution when it has ended."""
    until = time.monotonic() + 30
    while (last := edited.last_execution())["status"] in ("pending", "running"):
        assert time.monotonic() < until, last
        time.sleep(0.02)
    return last


@pytest.fixture
def edited(store):
    return EditedWorkflow.named("icu")


def test_a_name_that_is_not_stored_opens_empty_and_the_first_save_stores_it(edited, store):
    empty = {"name": "icu", "version": None, "nodes": [], "edges": []}
    assert edited.open() == {"workflow": empty, "draft": None, "told": 0}
    assert store.workflows.list().items == []
    assert edited.save([SYNTHETIC], [], None)["version"] == 1
    assert store.workflows.get_by_name("icu").nodes == [SYNTHETIC]


def test_what_is_checked_is_kept_as_the_draft_until_it_is_saved(edited):
    edited.save([SYNTHETIC], [], None)
    issues = edited.check([SYNTHETIC, SPLIT], [], 1, heard=0)
    assert [(issue["node"], issue["port"]) for issue in issues] == [("split", "cohort")]
    assert edited.open()["draft"] == {"nodes": [SYNTHETIC, SPLIT], "edges": [], "version": 1}
    edited.save([SYNTHETIC, SPLIT], [EDGE], 1)
    assert edited.open()["draft"] is None


def test_what_is_undone_to_the_stored_graph_is_no_draft(edited):
    edited.save([SYNTHETIC], [], None)
    edited.check([SYNTHETIC, SPLIT], [], 1, heard=0)
    edited.check([SYNTHETIC], [], 1, heard=0)
    assert edited.open()["draft"] is None


def test_who_saves_second_is_refused_and_keeps_the_draft(edited, store):
    edited.save([SYNTHETIC], [], None)
    edited.check([SYNTHETIC, SPLIT], [], 1, heard=0)
    store.workflows.update(store.workflows.get_by_name("icu").id, seen_version=1, nodes=[SPLIT])
    with pytest.raises(Conflict):
        edited.save([SYNTHETIC, SPLIT], [], 1)
    assert store.workflows.get_by_name("icu").nodes == [SPLIT]
    assert edited.open()["draft"]["nodes"] == [SYNTHETIC, SPLIT]


def test_versions_are_listed_compared_and_restored(edited):
    edited.save([SYNTHETIC], [], None)
    edited.save([{**SYNTHETIC, "settings": {"n": 60}}], [], 1)
    assert [one["version"] for one in edited.versions()] == [2, 1]
    (change,) = edited.difference(1, 2)["nodes_changed"][0]["changes"]
    assert (change["name"], change["before"], change["after"]) == ("settings.n", 40, 60)
    assert edited.restore(1) == {"name": "icu", "version": 3, "nodes": [SYNTHETIC], "edges": []}


def test_a_run_is_followed_to_its_end(edited, store):
    edited.save([SYNTHETIC, SPLIT], [EDGE], None)
    begun = edited.run()
    assert [node["node_id"] for node in begun["nodes"]] == ["synthetic", "split"]
    last = ended(edited)
    assert (last["id"], last["status"]) == (begun["id"], "completed")
    assert last["nodes"][0]["output"]["rows"] == 40
    edited.save([SYNTHETIC], [], 1)
    assert edited.executed(last["version"])["nodes"] == [SYNTHETIC, SPLIT]


def test_every_template_is_offered_without_an_issue(edited):
    for template in edited.templates():
        assert edited.check(template["nodes"], template["edges"], None, heard=0) == [], template["name"]


@pytest.fixture
def shown(store, monkeypatch):
    """A builder and what it sent to the browser."""
    if not (workflow_builder.STATIC / "workflow.js").exists():
        monkeypatch.setattr(workflow_builder, "_built", lambda name: "")
    shown = workflow_builder.builder("icu")
    sent = []
    monkeypatch.setattr(shown, "send", sent.append)
    yield shown, sent
    shown.close()


def test_each_question_has_its_answer(shown):
    builder, sent = shown
    builder._answer(
        builder, {"id": "a-1", "question": "save", "values": {"nodes": [], "edges": [], "version": None}}, []
    )
    assert sent == [{"id": "a-1", "answer": {"name": "icu", "version": 1, "nodes": [], "edges": []}}]


def test_what_the_store_refuses_is_told_as_the_server_would(shown):
    builder, sent = shown
    save = {"id": "a-1", "question": "save", "values": {"nodes": [], "edges": [], "version": None}}
    builder._answer(builder, save, [])
    builder._answer(builder, save, [])
    assert sent[1]["refused"]["status"] == 409
    assert "'icu'" in sent[1]["refused"]["message"]


def test_a_question_that_is_none_is_left_alone(shown):
    builder, sent = shown
    for content in ({"id": "a-1", "question": "__init__", "values": {}}, {"event": "click"}, "text", None):
        builder._answer(builder, content, [])
    assert sent == []


def test_news_are_told_once(shown):
    builder, sent = shown
    builder._edited.save([SYNTHETIC], [], None)
    builder._edited.run()
    ended(builder._edited)
    builder._active = True
    assert builder.refresh()
    assert builder.refresh()
    assert [message["news"]["execution"]["status"] for message in sent] == ["completed"]


def test_one_workflow_has_one_editor_in_a_kernel(shown):
    builder, _ = shown
    assert workflow_builder.builder("icu") is builder
    builder.close()
    assert workflow_builder.builder("icu") is not builder


def test_a_workflow_of_the_cell_follows_the_editor_and_the_editor_follows_the_cell(store):
    wf = mf.Workflow("icu")
    wf.add("source.synthetic", n=40)
    edited = EditedWorkflow(wf)
    assert [node["id"] for node in edited.open()["draft"]["nodes"]] == ["synthetic"]
    edited.check([SYNTHETIC, SPLIT], [EDGE], None, heard=0)
    assert [node.id for node in wf.nodes] == ["synthetic", "split"]
    assert edited.news() is None
    wf["synthetic"].set(n=60)
    told = edited.news()
    assert (told["nodes"][0]["settings"], told["nodes"][0]["position"]) == ({"n": 60}, SYNTHETIC["position"])
    assert edited.news() is None
    edited.save(told["nodes"], told["edges"], None)
    assert wf.is_saved
    assert wf.version == 1


def test_an_edit_made_without_knowing_what_code_changed_does_not_take_that_back(store):
    wf = mf.Workflow("icu")
    edited = EditedWorkflow(wf)
    edited.check([SYNTHETIC], [], None, heard=0)
    wf.add("cohort.split")
    edited.check([SYNTHETIC, {**SPLIT, "id": "drawn"}], [], None, heard=0)
    assert [node.id for node in wf.nodes] == ["synthetic", "split"]
    told = edited.news()
    assert ([node["id"] for node in told["before"]["nodes"]], told["number"]) == (["synthetic"], 1)
    # the same edit was on its way when that was told
    edited.check([SYNTHETIC, {**SPLIT, "id": "drawn"}], [], None, heard=0)
    assert [node.id for node in wf.nodes] == ["synthetic", "split"]
    edited.check([SYNTHETIC, SPLIT, {**SPLIT, "id": "drawn"}], [], None, heard=1)
    assert [node.id for node in wf.nodes] == ["synthetic", "split", "drawn"]
    assert edited.news() is None


def test_what_code_changed_is_told_before_a_question_is_answered(store, shown):
    builder, sent = shown
    builder.workflow.add("source.synthetic")
    builder._answer(builder, {"id": "a-1", "question": "open", "values": {}}, [])
    news, answer = sent[:2]
    assert [node["id"] for node in news["news"]["graph"]["nodes"]] == ["synthetic"]
    assert [node["id"] for node in answer["answer"]["draft"]["nodes"]] == ["synthetic"]
    assert answer["answer"]["told"] == news["news"]["graph"]["number"] == 1


def test_a_cell_that_is_run_again_has_an_editor_of_its_new_workflow(shown):
    first = mf.Workflow("other")
    builder = mf.builder(first)
    assert mf.builder(first) is builder
    assert mf.builder("other") is builder
    assert mf.builder(mf.Workflow("other")) is not builder
