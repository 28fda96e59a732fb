"""The nodes of the project do what their public functions do, each with the cohort, split or model that comes in."""

import itertools

import numpy as np
import pandas as pd
import pytest

import medfusion as mf
from medfusion_jupyter.nn import fusions, heads, image_encoders, table_encoders
from medfusion_jupyter.workflows.workflow_run import WorkflowFailed


@pytest.mark.parametrize(
    ("kind", "registry"),
    [
        ("model.image_encoder", image_encoders),
        ("model.table_encoder", table_encoders),
        ("model.fusion", fusions),
        ("model.head", heads),
    ],
)
def test_the_parts_that_a_form_offers_are_there(builtin, kind, registry):
    offered = builtin.get(kind).to_json()["settings"]["properties"]["name"]["examples"]
    assert [name for name in offered if name not in registry] == []


def test_every_setting_of_a_form_says_what_it_is(builtin):
    for node_type in builtin:
        for name, field in node_type.to_json()["settings"].get("properties", {}).items():
            assert field.get("description"), f"{node_type.name}.{name}"


WITHOUT_UNIT = {
    *(
        "seed",
        "lr",
        "encoder_lr",
        "weight_decay",
        "momentum",
        "gamma",
        "plateau_factor",
        "gradient_clip_val",
        "ema_decay",
    ),
    *("mixup", "cutmix", "class_weights", "attention_supervision"),
}
"""Numbers that are of no unit: rates, factors and weights."""


def is_number(schema):
    parts = [
        *schema.get("anyOf", ()),
        *schema.get("prefixItems", ()),
        *([schema["items"]] if "items" in schema else []),
    ]
    return schema.get("type") in ("number", "integer") or any(map(is_number, parts))


def test_every_number_of_a_form_says_its_unit(builtin):
    lacking = set()
    for node_type in builtin:
        schema = node_type.to_json()["settings"]
        for form in (schema, *schema.get("$defs", {}).values()):
            for name, field in form.get("properties", {}).items():
                if is_number(field) and not field.get("unit") and name not in WITHOUT_UNIT:
                    lacking.add(f"{node_type.name}.{name}")
    assert lacking == set()


def test_a_table_goes_through_sources_filters_and_a_split_to_files(store, tmp_path):
    cohort = mf.synthetic_cohort(n=100, image_size=16, seed=1)
    cohort.frame.assign(part=["train", "train", "val", "test"] * 25).to_csv(tmp_path / "data.csv", index=False)
    roles = cohort.roles()
    number = roles["numeric"][0]
    roles = {name: roles[name] for name in ("image", "image_root", "patient", "numeric")} | {
        "target": cohort.target.name
    }
    wf = mf.Workflow("all")
    source = wf.add("source.csv", table=tmp_path / "data.csv", **roles)
    kept = wf.add("cohort.filter", column=number, at_least=-3)
    derived = wf.add("cohort.derive", name="twice", formula=f"2 * `{number}`")
    parts = wf.add("cohort.split_by", column="part")
    training = wf.add("train", image_encoder=None, epochs=1)
    named = wf.add("model.register", alias="production")
    predictions = wf.add("predict")
    table = wf.add("predictions.export", path=tmp_path / "predictions.csv")
    archive = wf.add("model.export", path=tmp_path / "model.zip")
    wf.add("note", text="only the table")
    for giving, taking in itertools.pairwise([source, kept, derived, parts, training, named]):
        wf.connect(giving, taking)
    wf.connect(named, predictions)
    wf.connect(derived, predictions)
    wf.connect(predictions, table)
    wf.connect(named, archive)
    run = wf.run().wait(120)
    assert set(run.nodes["status"]) == {"completed"}
    model = run.output("register")
    assert mf.load_model(model.name, alias="production").job_id == run.output("train").job_id
    assert run.output("derive").numeric == [*roles["numeric"], "twice"]
    read = pd.read_csv(tmp_path / "predictions.csv")
    pd.testing.assert_frame_equal(read, model.predict(run.output("derive")).reset_index(drop=True), check_dtype=False)
    from medfusion_jupyter.store.model_archive import unpack

    assert unpack(tmp_path / "model.zip")["backbone"]


@pytest.mark.parametrize(
    ("shape", "outputs", "settings"),
    [
        ((28, 28), 1, {"labels": ["none", "mild", "severe"], "ordinal": True}),
        ((28, 28), 3, {"labels": ["mass", "nodule", "edema"]}),
        ((8, 8, 8), 1, {}),
    ],
)
def test_a_file_of_medmnist_is_what_its_function_reads(store, tmp_path, shape, outputs, settings):
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = np.random.default_rng(0).integers(0, 256, (9, *shape), dtype=np.uint8)
        classes = (np.arange(9)[:, None] + np.arange(outputs)) % 3
        arrays[f"{part}_labels"] = classes if outputs == 1 else (classes == 0).astype(np.uint8)
    np.savez(tmp_path / "some.npz", **arrays)
    wf = mf.Workflow("read")
    wf.add("source.medmnist", id="cohort", path=str(tmp_path / "some.npz"), **settings)
    read, cohort = mf.read_medmnist(tmp_path / "some.npz", **settings), wf.run().wait(60).output("cohort")
    assert (cohort.target, cohort.dimensions, cohort.fingerprint) == (read.target, read.dimensions, read.fingerprint)


def test_a_stored_cohort_is_checked_and_cross_validated(store):
    mf.synthetic_cohort(n=120, image_size=16).save("icu")
    wf = mf.Workflow("folds")
    source = wf.add("source.dataset", name="icu")
    wf.connect(source, wf.add("cohort.check", folds=2, images=20))
    folds = wf.add("cross_validate", folds=2, epochs=1, image_encoder=None)
    wf.connect(source, folds)
    run = wf.run().wait(200)
    assert run.output("check").looked_at
    assert len(run.output("cross_validate").jobs) == 2
    assert run.node_runs[2].output["job_id"] == run.output("cross_validate").job_id
    linked = [store.jobs.get(job.job_id) for job in run.output("cross_validate").jobs]
    linked.append(store.jobs.get(run.output("cross_validate").job_id))
    assert {job.workflow_execution_id for job in linked} == {run.id}
    again = wf.run().wait(200)
    assert again.nodes.loc["cross_validate", "status"] == "cached"


def test_a_check_stops_a_run_before_its_training_and_shows_what_it_found(store):
    cohort = mf.synthetic_cohort(n=120, image_size=16)
    leaking = cohort.frame.assign(answer=cohort.target_codes * 2 + 1)
    roles = {k: v for k, v in cohort.roles().items() if k in ("image", "image_root", "patient", "numeric")}
    mf.Cohort(leaking, target=cohort.target.name, **roles).derive("told", "answer").save("leaking")
    wf = mf.Workflow("guarded")
    source = wf.add("source.dataset", name="leaking")
    wf.connect(source, wf.add("cohort.check", folds=2, images=20, stop_at="error"))
    wf.connect(source, wf.add("cross_validate", folds=2, epochs=1, image_encoder=None))
    run = wf.run()
    with pytest.raises(WorkflowFailed, match="stop_at='error'"):
        run.wait(120)
    assert dict(run.nodes["status"]) == {"dataset": "completed", "check": "failed", "cross_validate": "skipped"}
    assert "told" in run.node_runs[1].output["preview"]["text/html"]
    assert store.jobs.list().items == []
