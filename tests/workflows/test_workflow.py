"""A workflow as a person writes it: built, checked as it is built, saved without overwriting another's, and taken elsewhere."""

import json

import pytest

import medfusion as mf
from medfusion_jupyter.store import StoreError, UnknownId
from medfusion_jupyter.store.errors import Conflict
from medfusion_jupyter.workflows.catalogue import UnknownNodeType
from medfusion_jupyter.workflows.graph import GraphError
from medfusion_jupyter.workflows.workflow_node import WorkflowError


def study(name="icu"):
    wf = mf.Workflow(name)
    patients = wf.add("source.synthetic", n=120, image_size=16)
    parts = wf.add("cohort.split", id="parts", seed=3)
    wf.connect(patients, parts)
    return wf


def test_a_study_is_built_of_nodes_and_checked_as_a_whole():
    wf = study()
    fit = wf.add("train", epochs=2)
    wf.connect(wf["parts"].output("split"), fit.input("split"))
    assert [node.id for node in wf.nodes] == ["synthetic", "parts", "train"]
    assert (fit.type, fit.settings) == ("train", {"epochs": 2})
    assert wf.validate() == []
    wf.add("evaluate")
    (issue,) = wf.validate()
    assert (issue.node, issue.port) == ("evaluate", "model")
    assert "'evaluate' of" not in repr(wf)
    assert repr(wf) == "<Workflow 'icu': 4 nodes, 3 edges, not saved>".replace("3 edges", "2 edges")
    wf.remove("evaluate")
    assert wf.validate() == []


def test_what_cannot_be_is_refused_where_it_is_written():
    wf = study()
    with pytest.raises(UnknownNodeType, match="Did you mean 'train'"):
        wf.add("trian")
    with pytest.raises(WorkflowError, match="epochs"):
        wf.add("train", epochs=0)
    with pytest.raises(WorkflowError, match=r"Did you mean 'epochs'\?"):
        wf.add("train", epoch=3)
    with pytest.raises(WorkflowError, match="already"):
        wf.add("train", id="parts")
    with pytest.raises(WorkflowError, match="a setting is a text"):
        wf.add("train", epochs=object())
    assert len(wf.nodes) == 2
    with pytest.raises(WorkflowError, match="Ports that match: none"):
        wf.connect(wf["parts"], wf["synthetic"])
    with pytest.raises(WorkflowError, match="no output 'cohrt'. Did you mean 'cohort'"):
        wf["synthetic"].output("cohrt")
    with pytest.raises(WorkflowError, match="more than one edge|twice"):
        wf.connect(wf["synthetic"], wf["parts"])
    with pytest.raises(WorkflowError, match="takes a cohort, not a split"):
        wf.connect(wf["parts"].output(), wf["parts"].input())
    with pytest.raises(WorkflowError, match="another workflow"):
        wf.connect(study()["synthetic"], wf["parts"])
    with pytest.raises(KeyError, match="Did you mean 'parts'"):
        wf["part"]
    assert len(wf.graph.edges) == 1


def test_a_cycle_is_refused():
    wf = mf.Workflow("ring")
    one = wf.add("cohort.filter", column="a", at_least=1)
    two = wf.add("cohort.filter", column="a", at_least=2)
    wf.connect(one, two)
    with pytest.raises(WorkflowError, match="need one another"):
        wf.connect(two, one)


def test_settings_are_changed_or_stay_as_they_were():
    wf = study()
    wf["parts"].set(test=0.3)
    assert wf["parts"].settings == {"seed": 3, "test": 0.3}
    with pytest.raises(WorkflowError, match="test"):
        wf["parts"].set(test=3)
    assert wf["parts"].settings == {"seed": 3, "test": 0.3}


def test_a_setting_that_a_port_stands_for_is_named():
    wf = mf.Workflow.from_template("image-and-table")
    wf["training"].set(image_encoder="resnet18", augment=False)
    assert {(one.node, one.port, one.setting) for one in wf.validate()} == {
        ("training", "design", "image_encoder"),
        ("training", "augmentation", "augment"),
    }


def test_a_fusion_takes_one_encoder_of_each_kind():
    wf = mf.Workflow("two")
    fusion = wf.add("model.fusion")
    wf.connect(wf.add("model.image_encoder"), fusion)
    wf.connect(wf.add("model.table_encoder"), fusion)
    with pytest.raises(WorkflowError, match="two nodes of the type 'model.image_encoder'"):
        wf.connect(wf.add("model.image_encoder"), fusion)


def test_it_is_saved_in_versions_and_loaded_as_it_was(store):
    wf = study().save()
    assert (wf.version, wf.is_saved) == (1, True)
    wf["parts"].set(seed=4)
    assert not wf.is_saved
    wf.save()
    assert mf.load_workflow("icu") == wf
    assert mf.load_workflow("icu", version=1)["parts"].settings == {"seed": 3}
    # an earlier version becomes the newest
    assert mf.load_workflow("icu", version=1).save().version == 3
    assert [one.version for one in store.workflows.versions(1)] == [3, 2, 1]
    with pytest.raises(UnknownId, match="icu"):
        mf.load_workflow("icv")


def test_what_is_saved_unchanged_makes_no_version(store):
    study().save()
    assert study().save().version == 1
    assert mf.load_workflow("icu").save().version == 1


def test_a_cell_that_is_run_again_saves_the_next_version(store):
    study().save()
    again = study()
    again["parts"].set(seed=9)
    assert again.save().version == 2


def test_of_two_people_the_second_is_told_and_nothing_is_overwritten(store):
    study().save()
    mine, theirs = mf.load_workflow("icu"), mf.load_workflow("icu")
    theirs["parts"].set(seed=5)
    theirs.save()
    mine["parts"].set(seed=6)
    with pytest.raises(Conflict, match="changed meanwhile"):
        mine.save()
    assert mf.load_workflow("icu") == theirs
    assert not mine.is_saved
    assert mine.save(overwrite=True).version == 3


def test_a_name_that_another_workflow_has_is_refused(store):
    store.workflows.create("icu", nodes=[{"id": "n", "type": "note"}])
    with pytest.raises(WorkflowError, match=r"mf\.load_workflow\('icu'\)"):
        study().save()
    assert store.workflows.get_by_name("icu").version == 1


@pytest.mark.parametrize("there_and_back", ["json", "text", "yaml", "file"])
def test_it_comes_back_from_a_document_as_it_was(there_and_back, tmp_path):
    wf = mf.Workflow.from_template("what-the-image-adds")
    wf.description = "first line\nsecond"
    back = {
        "json": lambda: mf.Workflow.from_json(wf.to_json()),
        "text": lambda: mf.Workflow.from_json(json.dumps(wf.to_json())),
        "yaml": lambda: mf.Workflow.from_yaml(wf.to_yaml()),
        "file": lambda: (
            (tmp_path / "a.json").write_text(json.dumps(wf.to_json())),
            mf.Workflow.from_json(tmp_path / "a.json"),
        )[1],
    }[there_and_back]()
    assert back == wf


def test_an_unknown_type_and_other_keys_are_kept_and_told(store):
    value = study().to_json()
    value["nodes"].append(
        {"id": "x", "type": "their.node", "settings": {"a": 1}, "position": {"x": 3}, "kind": "round"}
    )
    value["edges"].append(
        {"source": "parts", "source_port": "split", "target": "x", "target_port": "in", "colour": "red"}
    )
    wf = mf.Workflow.from_json(value)
    (issue,) = wf.validate()
    assert (issue.node, "install the package" in issue.fix) == ("x", True)
    assert "unknown" in wf._repr_html_()
    wf.save()
    assert mf.load_workflow("icu").to_json() == value
    assert mf.Workflow.from_yaml(wf.to_yaml()).to_json() == value


def test_one_of_a_newer_version_is_refused_with_a_clear_word():
    with pytest.raises(GraphError, match=r"newer version of MedFusion \(format 2"):
        mf.Workflow.from_json({**study().to_json(), "format": 2, "lanes": []})


NESTED = json.loads("[" * 60 + "]" * 60)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("{", "no JSON"),
        ("[]", "no workflow"),
        ({"name": "a", "nodes": [3]}, "node 0"),
        ({"nodes": []}, "no name"),
        ({"name": "a", "node": []}, "no 'node'"),
        ({"name": "a", "format": "1"}, "format='1'"),
        (
            '{"name": "a", "nodes": [{"id": "b", "type": "note", "settings": {"n": NaN}}]}',
            "'b': The setting 'n' is no value of",
        ),
        ('{"name": "a", "nodes": [{"id": "b", "type": "note", "place": Infinity}]}', "'b': .* no JSON"),
        ({"name": "a", "nodes": [{"id": "b", "type": "note", "settings": {"n": NESTED}}]}, "at most 50 within"),
        (
            '{"name": "a", "edges": [{"source": "a", "source_port": "b", "target": "c", "target_port": "d", "x": NaN}]}',
            "edge 0",
        ),
    ],
)
def test_what_is_no_workflow_is_refused(value, word):
    with pytest.raises(GraphError, match=word):
        mf.Workflow.from_json(value)


def test_yaml_that_is_none_and_edges_that_lead_nowhere_are_refused():
    with pytest.raises(GraphError, match="no YAML"):
        mf.Workflow.from_yaml("a: [")
    with pytest.raises(GraphError, match="node.output -> node.input"):
        mf.Workflow.from_yaml("name: a\nedges: [a -> b]")


def test_yaml_holds_what_json_can_hold():
    def read(text):
        return mf.Workflow.from_yaml(f"name: a\nnodes: [{{id: b, type: note, settings: {{text: {text}}}}}]")[
            "b"
        ].settings

    assert read("2020-01-01") == {"text": "2020-01-01"}
    assert read("&t hi, other: *t") == {"text": "hi", "other": "hi"}
    for text in ("!!set {a, b}", "!!binary aGVsbG8=", ".nan"):
        with pytest.raises(GraphError, match="'b': The setting 'text' is no value of JSON"):
            read(text)
    with pytest.raises(GraphError, match="no YAML"):
        read("!!python/object/apply:os.getcwd []")


def test_its_view_escapes_what_people_wrote():
    wf = mf.Workflow("<script>alert(1)</script>")
    wf.add("note", text="<img src=x onerror=alert(1)>")
    assert "<script>" not in wf._repr_html_()
    assert "<img" not in wf._repr_html_()


def test_one_that_cannot_run_says_why_and_stores_nothing(store):
    wf = mf.Workflow("half")
    wf.add("train")
    with pytest.raises(WorkflowError, match="'train': The input 'split' is not connected"):
        wf.run()
    with pytest.raises(StoreError):
        store.workflows.get_by_name("half")


@pytest.mark.parametrize("template", mf.Workflow.templates(), ids=lambda template: template.name)
def test_every_template_has_no_issue(template):
    assert mf.Workflow.from_template(template.name, "mine").validate() == []
    json.dumps(template.to_json())


def test_an_unknown_template_offers_the_closest():
    with pytest.raises(WorkflowError, match="Did you mean 'compare-fusions'"):
        mf.Workflow.from_template("compare-fusion")
