"""A function in a cell becomes a node: its parameters are inputs and settings, and it stays the function that it is."""

from typing import Annotated, Literal, NamedTuple

import pytest
from pydantic import Field

import medfusion as mf
from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.workflows.catalogue import catalogue
from medfusion_jupyter.workflows.context import Context
from medfusion_jupyter.workflows.workflow_node import WorkflowError


@pytest.fixture(autouse=True)
def catalogue_of_its_own(monkeypatch):
    monkeypatch.setattr("medfusion_jupyter.workflows.own_node._own", set())
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


class Halves(NamedTuple):
    first: Cohort
    second: Cohort


def halve(cohort: Cohort, share: Annotated[float, Field(gt=0, lt=1, description="of the first")] = 0.5) -> Halves:
    """Cut a cohort in two."""
    import numpy as np

    cut = int(len(cohort) * share)
    return Halves(cohort.subset(np.arange(cut)), cohort.subset(np.arange(cut, len(cohort))))


def count(
    parts: list[Cohort], told: Context, other: Split | None = None, how: Literal["rows", "patients"] = "rows"
) -> int:
    told.note(parts=len(parts))
    return sum(len(part) if how == "rows" else part.num_patients for part in parts)


def test_a_function_is_a_node_and_still_a_function(store):
    assert mf.node("cohort.halve")(halve) is halve
    mf.node("cohort.count", title="Count rows")(count)
    wf = mf.Workflow("halves")
    cut = wf.add("cohort.halve", share=0.25)
    wf.connect(wf.add("source.synthetic", n=40, image_size=16), cut)
    total = wf.add("cohort.count")
    for output in ("first", "second"):
        wf.connect(cut.output(output), total.input("parts"))
    run = wf.run().wait(60)
    assert (run.output("count"), len(run.output("halve", "first"))) == (40, 10)
    assert run.node_runs[2].output["parts"] == 2
    told = {one["name"]: one for one in catalogue().to_json()}
    assert told["cohort.halve"]["help"] == "Cut a cohort in two."
    assert told["cohort.halve"]["settings"]["properties"]["share"]["exclusiveMaximum"] == 1
    assert [(port["name"], port["required"], port["several"]) for port in told["cohort.count"]["inputs"]] == [
        ("parts", True, True),
        ("other", False, False),
    ]
    with pytest.raises(WorkflowError, match="share"):
        cut.set(share=2)


def test_the_cell_that_is_run_again_replaces_the_node_and_unchanged_it_is_cached(store):
    def once(cell):
        names = {"mf": mf, "__name__": "__main__"}
        exec(cell, names)
        wf = mf.Workflow("cells")
        wf.connect(wf.add("source.synthetic", n=40, image_size=16), wf.add("cohort.first"))
        run = wf.run().wait(60)
        return str(run.node_runs[1].status), run.output("first")

    cell = "@mf.node('cohort.first')\ndef first(cohort: mf.Cohort, of: int = 1) -> int:\n    return 1 + len(cohort)\n"
    assert once(cell) == ("completed", 41)
    assert once("\n\n" + cell) == ("cached", 41)
    assert once(cell.replace("1 + len", "2 + len")) == ("completed", 42)


def test_its_code_calls_the_function(store):
    mf.node("cohort.halve")(halve)
    wf = mf.Workflow("halves")
    cut = wf.add("cohort.halve", share=0.25)
    parts = wf.add("cohort.split")
    wf.connect(wf.add("source.synthetic", id="cohort", n=40), cut)
    wf.connect(cut.output("second"), parts)
    code = wf.to_code()
    assert "halve_node = halve(cohort=cohort, share=0.25)\nsplit = halve_node.second.split()" in code
    assert [node.id for node in mf.Workflow.from_code(code).nodes] == ["cohort", "halve_node", "split"]


def test_what_is_no_node_is_refused():
    with pytest.raises(ValueError, match="'train' already"):
        mf.node("train")(halve)
    with pytest.raises(TypeError, match="'cohort' needs an annotation"):
        mf.node("a.b")(lambda cohort: cohort)

    def gives_nothing_said(cohort: Cohort): ...

    with pytest.raises(TypeError, match="-> None"):
        mf.node("a.b")(gives_nothing_said)
