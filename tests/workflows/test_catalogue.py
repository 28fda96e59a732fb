"""The catalogue: a name is one node type's, what is unknown offers the closest, and packages add their own."""

import json
from importlib import metadata

import pytest
from pydantic import BaseModel

from medfusion_jupyter.workflows.catalogue import (
    Catalogue,
    Input,
    NodeType,
    Output,
    UnknownNodeType,
    catalogue,
)


class Factor(BaseModel):
    factor: float = 2


def times(inputs, settings, context):
    """The number, times a factor."""
    return {"number": inputs["number"] * settings.factor}


def test_a_function_becomes_a_node_type_with_its_docstring_and_the_schema_of_its_settings():
    own = Catalogue()
    ports = {"inputs": [Input("number", "number")], "outputs": [Output("number", "number")]}
    assert own.register("math.times", family="Math", title="Times", settings=Factor, **ports)(times) is times
    (told,) = json.loads(json.dumps(own.to_json()))
    assert (told["name"], told["family"], told["help"]) == ("math.times", "Math", "The number, times a factor.")
    port = {"name": "number", "type": "number", "help": "", "required": True, "several": False}
    assert told["inputs"][0] == {**port, "distinct": False, "replaces": []}
    assert told["settings"]["properties"]["factor"]["default"] == 2
    assert own.get("math.times").work() is times


def test_a_second_entry_of_one_name_and_two_ports_of_one_name_are_refused():
    own = Catalogue([NodeType("a.b", "A", "B", "", times)])
    with pytest.raises(ValueError, match=r"'a\.b' is registered already"):
        own.register("a.b", family="A", title="B")(times)
    with pytest.raises(ValueError, match="two ports of one name"):
        NodeType("a.c", "A", "C", "", times, outputs=(Output("x", "t"), Output("x", "t")))


def test_an_unknown_name_offers_the_closest(builtin):
    with pytest.raises(UnknownNodeType, match=r"no node type 'cohort\.spilt'. Did you mean 'cohort\.split'\?"):
        builtin.get("cohort.spilt")


def test_what_every_node_of_the_project_does_is_there(builtin):
    for node_type in builtin:
        assert callable(node_type.work()), node_type.name


def test_the_form_of_training_has_the_settings_of_mf_train_but_the_shares(builtin):
    from medfusion_jupyter.settings.training import TrainingSettings

    form = builtin.get("train").to_json()["settings"]["properties"]
    assert set(form) == set(TrainingSettings.model_fields) - {"val", "test"}
    assert form["lr"]["description"]


@pytest.fixture
def installed(monkeypatch):
    """As if packages with these entry points were installed."""

    def install(**values):
        found = [metadata.EntryPoint(name, value, "medfusion.nodes") for name, value in values.items()]
        monkeypatch.setattr("medfusion_jupyter.workflows.catalogue.entry_points", lambda group: found)
        catalogue.cache_clear()

    yield install
    catalogue.cache_clear()


THEIRS = NodeType("theirs.times", "Theirs", "Times", "", times)
MANY = [NodeType(f"theirs.{k}", "Theirs", "Times", "", times) for k in range(3)]


def test_an_installed_package_adds_node_types_and_a_broken_one_keeps_nobody_away(installed, caplog):
    installed(
        one=f"{__name__}:THEIRS", broken="no_such_package:NODES", many=f"{__name__}:MANY", wrong=f"{__name__}:json"
    )
    names = [node_type.name for node_type in catalogue()]
    assert names[-4:] == ["theirs.times", "theirs.0", "theirs.1", "theirs.2"]
    assert "train" in names
    assert [record.args[0] for record in caplog.records] == ["broken", "wrong"]


def test_settings_of_training_stand_under_headings(builtin):
    properties = builtin.get("train").to_json()["settings"]["properties"]
    assert "group" not in properties["fusion"]
    assert (properties["lr"]["group"], properties["epochs"]["group"]) == ("Optimiser", "Length and validation")
