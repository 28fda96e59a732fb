"""A function in a cell becomes a node: its parameters are inputs and settings, and it stays the function that it is."""

from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import pytest
from pydantic import Field

import medfusion as mf
from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.workflows.catalogue import catalogue
from medfusion_jupyter.workflows.context import Context
from medfusion_jupyter.workflows.workflow_node import WorkflowError
from medfusion_jupyter.workflows.workflow_run import WorkflowFailed


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

    def of_one_or_two(cohort: Cohort | Split) -> None: ...

    with pytest.raises(TypeError, match="name one class"):
        mf.node("a.b")(of_one_or_two)

    def gives_two(cohort: Cohort) -> tuple[Cohort, Cohort]: ...

    with pytest.raises(TypeError, match="a NamedTuple for several outputs"):
        mf.node("a.b")(gives_two)

    async def waits(cohort: Cohort) -> Cohort: ...

    with pytest.raises(TypeError, match="plain function"):
        mf.node("a.b")(waits)
    with pytest.raises(TypeError, match=r'write @node\("cohort.adults"\), not @node\(halve\)'):
        mf.node(halve)


@pytest.mark.parametrize(
    ("parameter", "refused"),
    [
        ("n: int = 'text'", "n='text' is no value that int allows"),
        ("n: float = float('nan')", "n=nan is no value"),
        ("n: Annotated[int, Field(ge=3)] = 2", "n=2 is no value"),
        ("_n: int = 1", "cannot be called '_n'"),
        ("model_config: int = 1", "cannot be called 'model_config'"),
        ("id: str = 'x'", "cannot be called 'id'"),
    ],
)
def test_a_setting_that_would_be_lost_is_refused(parameter, refused):
    with pytest.raises((TypeError, ValueError), match=refused):
        exec(f"@mf.node('a.b')\ndef f({parameter}) -> None: ...", {"mf": mf, "Annotated": Annotated, "Field": Field})


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def paint(
    colour: Colour,
    folder: Path = Path("here"),
    day: date = date(2020, 1, 1),
    copy: bool = False,
    n: int = None,  # noqa: RUF013
) -> Cohort | None:
    return (colour, folder, day, copy, n)


def test_enums_paths_dates_and_names_of_pydantic_are_settings(store, recwarn):
    mf.node("a.paint")(paint)
    assert not [one for one in recwarn if "shadows" in str(one.message)]
    wf = mf.Workflow("paint")
    painted = wf.add("a.paint", colour="blue", day="2021-02-03")
    assert painted.output().name == "cohort"
    run = wf.run()
    with pytest.raises(WorkflowFailed, match="paint gave a tuple; by its annotation it gives a Cohort"):
        run.wait(60)
    settings = painted.node_type.settings.model_validate(painted.settings)
    assert (settings.colour, settings.folder, settings.day) == (Colour.BLUE, Path("here"), date(2021, 2, 3))
    with pytest.raises(WorkflowError, match="colour"):
        painted.set(colour="green")
