"""Validation names the fault, where it is and what to do; it raises for nothing, and finds no fault where there is none."""

import copy
import json

import pytest
from graphs import edge, study
from hypothesis import given, settings
from hypothesis import strategies as st

import medfusion as mf
from medfusion_jupyter.workflows.catalogue import Catalogue, Input, NodeType, Output, catalogue
from medfusion_jupyter.workflows.graph import NODE_ID_LENGTH, Graph, GraphError
from medfusion_jupyter.workflows.validation import validate


def work(inputs, settings, context):
    raise AssertionError("nothing is executed by validation")


NUMBERS = Catalogue(
    [
        NodeType("one", "N", "One", "", work, outputs=(Output("out", "number"),)),
        NodeType("text", "N", "Text", "", work, outputs=(Output("out", "text"),)),
        NodeType(
            "sum",
            "N",
            "Sum",
            "",
            work,
            inputs=(Input("of", "number", several=True), Input("start", "number", required=False)),
            outputs=(Output("out", "number"),),
        ),
    ]
)


def test_a_whole_study_has_no_issue(builtin):
    assert validate(study(), builtin) == []
    assert validate(Graph.of(**study()), builtin) == []


def change(graph, node, **changes):
    found = next(one for one in graph["nodes"] if one["id"] == node)
    found.update(changes)


FAULTS = {
    "no nodes": (lambda g: (g["nodes"].clear(), g["edges"].clear()), (None, None, None), "has no nodes"),
    "type": (lambda g: change(g, "fit", type="trian"), ("fit", None, None), "Did you mean 'train'?"),
    "two of one id": (lambda g: change(g, "report", id="fit"), ("fit", None, None), "an id of its own"),
    "node gone": (lambda g: g["edges"][0].update(source="?"), (None, None, None), "'?', which is not there"),
    "output": (
        lambda g: g["edges"][0].update(source_port="cohrt"),
        ("patients", "cohrt", None),
        "Did you mean 'cohort'?",
    ),
    "input": (lambda g: g["edges"][0].update(target_port="chort"), ("parts", "chort", None), "Did you mean 'cohort'?"),
    "types": (
        lambda g: g["edges"].append(edge("parts", "split", "report", "cohort")),
        ("report", "cohort", None),
        "takes a cohort, not a split",
    ),
    "two edges": (
        lambda g: (
            g["nodes"].append({"id": "other", "type": "source.synthetic"}),
            g["edges"].append(edge("other", "cohort", "parts")),
        ),
        ("parts", "cohort", None),
        "more than one edge",
    ),
    "same edge": (lambda g: g["edges"].append(dict(g["edges"][0])), ("parts", "cohort", None), "there twice"),
    "not connected": (lambda g: g["edges"].pop(0), ("parts", "cohort", None), "not connected"),
    "setting": (lambda g: change(g, "fit", settings={"lr": -1}), ("fit", None, "lr"), "peak learning rate"),
    "wrong type": (lambda g: change(g, "fit", settings={"epochs": "many"}), ("fit", None, "epochs"), "a whole number"),
    "no such setting": (
        lambda g: change(g, "fit", settings={"epoch": 2}),
        ("fit", None, "epoch"),
        "Did you mean 'epochs'?",
    ),
    "shares": (lambda g: change(g, "fit", settings={"val": 0.1}), ("fit", None, None), "node that splits"),
    "lacking": (
        lambda g: change(g, "patients", type="source.dataset", settings={}),
        ("patients", None, "name"),
        "name",
    ),
    "nodes": (lambda g: g.update(nodes=3), (None, None, None), "as a list"),
    "node": (lambda g: g["nodes"].append(3), (None, None, None), "is no object"),
    "id": (lambda g: g["nodes"].append({"type": "train"}), (None, None, None), "has no id"),
    "settings": (lambda g: change(g, "fit", settings=[]), ("fit", None, None), "as an object"),
    "edge": (lambda g: g["edges"].append({"source": "fit"}), (None, None, None), "does not say from where"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_names_its_place_and_the_way_to_mend_it(builtin, name):
    spoil, place, words = FAULTS[name]
    graph = study()
    spoil(graph)
    issues = validate(graph, builtin)
    found = [issue for issue in issues if (issue.node, issue.port, issue.setting) == place and words in str(issue)]
    assert found, issues
    assert all(issue.fix for issue in issues)


def test_a_cycle_is_named_by_its_nodes():
    nodes = [{"id": one, "type": "sum"} for one in "abcd"]
    edges = [edge(source, "out", target, "of") for source, target in ("ab", "bc", "cb", "cd")]
    (issue,) = (one for one in validate({"nodes": nodes, "edges": edges}, NUMBERS) if "need one another" in one.message)
    assert "'b' → 'c' → 'b'" in issue.message or "'c' → 'b' → 'c'" in issue.message
    with pytest.raises(GraphError, match="need one another"):
        Graph.of(nodes, edges).in_order()


def test_an_input_for_several_takes_several_and_the_others_one():
    nodes = [{"id": "a", "type": "one"}, {"id": "b", "type": "one"}, {"id": "s", "type": "sum"}]
    both = [edge("a", "out", "s", "of"), edge("b", "out", "s", "of")]
    assert validate({"nodes": nodes, "edges": both}, NUMBERS) == []
    twice = [*both, edge("a", "out", "s", "start"), edge("b", "out", "s", "start")]
    (issue,) = validate({"nodes": nodes, "edges": twice}, NUMBERS)
    assert (issue.node, issue.port, issue.edge) == ("s", "start", 3)


def test_the_settings_of_anothers_node_may_fail_in_any_way():
    from pydantic import BaseModel, model_validator

    class Rude(BaseModel):
        @model_validator(mode="before")
        @classmethod
        def check(cls, value):
            raise KeyError("oops")

    rude = Catalogue([NodeType("rude", "R", "R", "", work, settings=Rude)])
    (issue,) = validate({"nodes": [{"id": "r", "type": "rude"}]}, rude)
    assert "KeyError" in issue.message


def json_of(floats):
    return st.recursive(
        st.none() | st.booleans() | st.integers() | floats | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=10,
    )


JSON = json_of(st.floats())
"""With NaN and infinity, which Python reads and writes."""
KEPT = json_of(st.floats(allow_nan=False, allow_infinity=False))
TYPES = st.sampled_from([node_type.name for node_type in catalogue()]) | JSON
PORTS = st.sampled_from(["cohort", "split", "model", "evaluation"]) | JSON
IDS = st.sampled_from(["a", "b", "c"]) | JSON
SETTING = st.sampled_from(["lr", "epochs", "augment", "seed", "n", "name", "watch", "val"]) | st.text(max_size=3)
NODE = st.fixed_dictionaries({"id": IDS, "type": TYPES}, optional={"settings": st.dictionaries(SETTING, JSON) | JSON})
EDGE = st.fixed_dictionaries({"source": IDS, "source_port": PORTS, "target": IDS, "target_port": PORTS})
ALMOST = st.fixed_dictionaries({"nodes": st.lists(NODE | JSON), "edges": st.lists(EDGE | JSON)})


@settings(max_examples=400, deadline=None)
@given(ALMOST | JSON)
def test_whatever_the_json_holds_nothing_is_raised(value):
    before = copy.deepcopy(value)
    issues = validate(value, catalogue())
    json.dumps([issue.to_json() for issue in issues])
    assert repr(value) == repr(before)
    if not issues:
        assert len(Graph.of(value["nodes"], value["edges"]).in_order()) == len(value["nodes"])


@st.composite
def valid_graphs(draw):
    """Sums of ones and of one another, in any order, with more than a graph needs to hold."""
    count = draw(st.integers(1, 12))
    ids = draw(
        st.lists(
            st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=NODE_ID_LENGTH
            ),
            min_size=count,
            max_size=count,
            unique=True,
        )
    )
    nodes, edges = [], []
    for k, name in enumerate(ids):
        sources = draw(st.lists(st.sampled_from(ids[:k]), unique=True)) if k else []
        kind = "sum" if sources else "one"
        given_settings = draw(st.sampled_from([{}, {"settings": {}}]))
        nodes.append({"id": name, "type": kind, **given_settings, **draw(st.dictionaries(st.just("position"), KEPT))})
        edges += [edge(source, "out", name, "of") for source in sources]
        if sources and draw(st.booleans()):
            edges.append({**edge(sources[0], "out", name, "start"), "colour": draw(KEPT)})
    return {"nodes": draw(st.permutations(nodes)), "edges": draw(st.permutations(edges))}


@settings(max_examples=200, deadline=None)
@given(valid_graphs())
def test_a_valid_graph_has_no_issue_has_an_order_and_comes_back_as_it_was(value):
    assert validate(value, NUMBERS) == []
    graph = Graph.of(**value)
    order = [node.id for node in graph.in_order()]
    assert sorted(order) == sorted(node["id"] for node in value["nodes"])
    assert all(order.index(one.source) < order.index(one.target) for one in graph.edges)
    written = graph.to_json()
    assert repr(written["edges"]) == repr([{**one} for one in value["edges"]])
    assert repr(written["nodes"]) == repr(
        [
            {"id": n["id"], "type": n["type"], "settings": {}, **{k: n[k] for k in n if k == "position"}}
            for n in value["nodes"]
        ]
    )


@st.composite
def studies(draw):
    """Graphs of the project's own node types, each of whose required inputs takes from an earlier node."""
    kinds = [one for one in catalogue() if one.name in SETTINGS]
    giving: dict[str, list[tuple[str, str]]] = {}
    nodes, edges = [], []
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from([one for one in kinds if all(p.type in giving for p in one.inputs if p.required)]))
        text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
        name = f"{number}:{draw(text)}"
        for port in kind.inputs:
            if port.type in giving and (port.required or draw(st.booleans())) and not port.replaces:
                source, output = draw(st.sampled_from(giving[port.type]))
                edges.append(edge(source, output, name, port.name))
        for port in kind.outputs:
            giving.setdefault(port.type, []).append((name, port.name))
        nodes.append({"id": name, "type": kind.name, "settings": draw(SETTINGS[kind.name]), **draw(EXTRA)})
    return {"nodes": nodes, "edges": edges}


EXTRA = st.dictionaries(st.just("position"), KEPT)
SETTINGS = {
    "source.synthetic": st.fixed_dictionaries({}, optional={"n": st.integers(20, 10**6), "d_image": st.floats(0, 10)}),
    "source.dataset": st.fixed_dictionaries({"name": st.text(min_size=1, max_size=20)}),
    "cohort.filter": st.fixed_dictionaries({"column": st.text(min_size=1, max_size=9), "at_least": st.floats(-9, 9)}),
    "cohort.split": st.fixed_dictionaries({}, optional={"test": st.floats(0, 0.4), "val": st.floats(0.1, 0.5)}),
    "model.image_encoder": st.fixed_dictionaries({"name": st.text(min_size=1)}),
    "model.fusion": st.just({}),
    "model.head": st.just({}),
    "train": st.fixed_dictionaries({}, optional={"epochs": st.integers(1, 999), "lr": st.floats(1e-9, 1)}),
    "evaluate": st.fixed_dictionaries({}, optional={"split": st.sampled_from(["train", "val", "test"])}),
    "note": st.fixed_dictionaries({"text": st.text(max_size=50)}),
}


def there_and_back(value):
    assert validate(value, catalogue()) == []
    workflow = mf.Workflow.from_json({"format": 1, "name": "any", **value})
    again = json.loads(json.dumps(workflow.to_json()))
    # as text: 0.0 is not -0.0
    assert repr((again["nodes"], again["edges"])) == repr((value["nodes"], value["edges"]))
    assert repr(mf.Workflow.from_json(again).to_json()) == repr(workflow.to_json())


@settings(max_examples=100, deadline=None)
@given(studies())
def test_a_study_comes_back_from_json_as_it_was(value):
    there_and_back(value)


@pytest.mark.heavy
@settings(max_examples=1000, deadline=None)
@given(studies())
def test_a_thousand_studies_come_back_from_json_as_they_were(value):
    there_and_back(value)


BREAK = {
    "a type that nobody knows": lambda node, edges: node.update(type="no.such"),
    "a setting that is none": lambda node, edges: node.update(settings={**node["settings"], "no_such": 1}),
    "settings that are no object": lambda node, edges: node.update(settings=[1]),
    "no id": lambda node, edges: node.pop("id"),
    "an edge to nowhere": lambda node, edges: edges.append(edge(node["id"], "out", "nowhere")),
    "an edge from a port that is none": lambda node, edges: edges.append(
        edge(node["id"], "no_such", node["id"], "no_such")
    ),
    "a node that needs itself": lambda node, edges: edges.append(edge(node["id"], "cohort", node["id"], "cohort")),
}


@settings(max_examples=100, deadline=None)
@given(studies(), st.sampled_from(sorted(BREAK)), st.data())
def test_a_study_that_is_broken_has_an_issue_and_raises_nothing(value, how, data):
    BREAK[how](data.draw(st.sampled_from(value["nodes"])), value["edges"])
    issues = validate(value, catalogue())
    assert issues
    assert all(issue.message and issue.fix for issue in issues)
