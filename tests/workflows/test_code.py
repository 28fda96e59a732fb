"""A workflow as Python and back: what is written is read, does the same when it is run, and nothing is run to read it."""

import pytest

import medfusion as mf
from medfusion_jupyter.workflows.code_reader import CodeError
from medfusion_jupyter.workflows.workflow_node import WorkflowError


@pytest.mark.parametrize("template", [one.name for one in mf.Workflow.templates()])
def test_every_template_comes_back_from_its_code_as_it_was(template):
    wf = mf.Workflow.from_template(template)
    back = mf.Workflow.from_code(wf.to_code())
    assert back.to_json() == {**wf.to_json(), "description": ""}


def test_every_node_type_that_has_code_comes_back():
    wf = mf.Workflow("everything")
    table = wf.add(
        "source.csv",
        id="cohort",
        table="it's.csv",
        target={"task": "regression", "column": "los"},
        image={"frontal": "f", "lateral": "l"},
        window=[-1350.0, 150.0],
        numeric=["a b", "c"],
    )
    kept = wf.add("cohort.filter", column="a b", at_least=-1.5, one_of=["x", "é"], keep_missing=True)
    derived = wf.add("cohort.derive", name="new", formula="`a b` / c")
    images = wf.add(
        "cohort.preprocess_images", crop=[0.1, 0.0, 0.9, 1.0], clahe=2.0, resize="pad", normalise=[0.5, 0.2]
    )
    prepared = wf.add("cohort.preprocess_table", impute=0.0, scale="quantile", rare=5)
    parts = wf.add("cohort.split_by", column="part")
    fit = wf.add(
        "train",
        id="fit",
        name="a long name " * 8,
        epochs=3,
        image_size=[8, 16, 16],
        spacing=1.5,
        class_weights={"yes": 2.0},
        freeze=["head"],
        lr=1e-5,
    )
    named = wf.add("model.register", alias="production")
    report = wf.add("evaluate", split="val")
    outside = wf.add("evaluate")
    predictions = wf.add("predict")
    table_out, archive = wf.add("predictions.export", path="p.csv"), wf.add("model.export", id="archive", path="m.zip")
    other = [wf.add(f"source.{kind}", **given) for kind, given in OTHER_SOURCES.items()]
    for giving, taking in (
        (table, kept),
        (kept, derived),
        (derived, images),
        (images, prepared),
        (prepared, parts),
        (parts, fit),
        (fit, named),
        (fit, report),
        (named, outside),
        (other[0], outside),
        (named, predictions),
        (derived, predictions),
        (predictions, table_out),
        (named, archive),
        (other[0], wf.add("cohort.check", folds=3)),
        (other[1], wf.add("cross_validate", folds=3, augment=False)),
    ):
        wf.connect(giving, taking)
    wf.add("note", text="two lines\n  the second, indented")
    wf.add("note", text="another")
    assert wf.validate() == []
    code = wf.to_code()
    assert max(map(len, code.splitlines())) <= 130
    back = mf.Workflow.from_code(code)
    assert {node.id: (node.type, node.settings) for node in back.nodes} == {
        node.id: (node.type, node.settings) for node in wf.nodes
    }
    assert {str(edge) for edge in back.graph.edges} == {str(edge) for edge in wf.graph.edges}
    assert back.to_code() == code


OTHER_SOURCES = {
    "synthetic": {"n": 100},
    "dataset": {"name": "icu"},
    "public": {"name": "pneumoniamnist"},
    "medmnist": {"path": "a.npz", "labels": ["none", "mild"], "ordinal": True},
}


def test_the_cell_gives_the_same_result_when_it_is_run(store):
    wf = mf.Workflow.from_template("image-and-table", "study")
    wf["patients"].set(n=120, image_size=16)
    wf["training"].set(epochs=2, image_size=16)
    run = wf.run().wait()
    names = {}
    exec(wf.to_code(), names)
    theirs, ours = run.output("report"), names["report"]
    assert (ours.auroc, ours.accuracy, ours.rows) == (theirs.auroc, theirs.accuracy, theirs.rows)
    assert names["training"].job_id != run.output("training").job_id


def test_it_reads_as_a_person_would_write_it():
    wf = mf.Workflow("short")
    patients = wf.add("source.synthetic", id="cohort", n=100)
    parts = wf.add("cohort.split", id="my split")
    training = wf.add("train", fusion="film", epochs=2)
    for giving, taking in ((patients, parts), (parts, training), (training, wf.add("evaluate", id="class"))):
        wf.connect(giving, taking)
    assert wf.to_code() == (
        "import medfusion as mf\n"
        "\n"
        "# Workflow: short\n"
        "cohort = mf.synthetic_cohort(n=100)\n"
        "my_split = cohort.split()\n"
        "train = mf.train(my_split, fusion='film', epochs=2).wait()\n"
        "class_node = mf.evaluate(train.model)\n"
        "class_node\n"
    )


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        ("cohort = mf.synthetic_cohort(n=10 * 2)", "Line 1: 10 \\* 2 is no plain value"),
        ("import os\nos.remove('x')", "Line 1: 'import os' is not read"),
        ("cohort = mf.synthetic_cohrt()", r"Did you mean 'mf\.synthetic_cohort'\?"),
        ("cohort = mf.synthetic_cohort()\njob = mf.train(cohrt).wait()", "Line 2: cohrt is"),
        ("c = mf.synthetic_cohort()\ns = c.split()\njob = mf.train(s)", r"Write \.wait\(\) behind"),
        ("a = mf.synthetic_cohort()\na = mf.synthetic_cohort()", "assigned twice"),
        ("for a in range(3):\n    pass", "is not read"),
        ("fusion = 'gated'", "is not used by a training"),
        ("a = mf.synthetic_cohort(**more)", r"\*\* is not read"),
        ("a = mf.synthetic_cohort(3)", "one value too many"),
        ("a = mf.synthetic_cohort(n=1, n=2)", "given twice"),
        ("a = mf.synthetic_cohort(n={1, 2})", "Line 1: {1, 2} is no value of JSON"),
        ("a = mf.synthetic_cohort(n=b'x')", "no value of JSON"),
        ("a = mf.synthetic_cohort(n=1e999)", "no value of JSON"),
        ("s = cohort.split()", "Line 1: cohort is no output of a node"),
        ("a = (", "no Python"),
        (
            "c = mf.synthetic_cohort()\ns = c.split()\nh = 'classification'\nj = mf.train(s, fusion='gated', head=h).wait()",
            "Line 4: .* is nothing|Line 4: fusion is 'gated'",
        ),
    ],
)
def test_what_is_no_workflow_is_refused_with_its_line(cell, word):
    with pytest.raises(CodeError, match=word):
        mf.Workflow.from_code(cell)


def test_a_part_that_two_models_share_is_one_node_and_no_other():
    cell = mf.Workflow.from_template("compare-fusions").to_code()
    wrong = cell.replace("fusion=gated_fusion", "fusion=concat_fusion").replace(
        "tabular_encoder=table_encoder", "tabular_encoder=None", 1
    )
    with pytest.raises(CodeError, match="used with other parts before"):
        mf.Workflow.from_code(wrong)


def test_a_workflow_with_issues_has_no_code():
    wf = mf.Workflow("half")
    wf.add("train")
    with pytest.raises(WorkflowError, match="not connected"):
        wf.to_code()
