"""Every notebook runs from its first cell to its last, in a real kernel."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from medfusion_jupyter.store import open_store

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def _run(name, **parameters):
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = [f"{key} = {value!r}" for key, value in parameters.items()]
            cell.source = "\n".join([cell.source, *lines])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return notebook


def _text(notebook):
    return str(
        [output.get("text") or output.get("data") for cell in notebook.cells for output in cell.get("outputs", [])]
    )


def test_quickstart(medfusion_home):
    notebook = _run("01-quickstart.ipynb")
    job = open_store().jobs.list().items[0]
    assert (job.name, job.status) == ("quickstart", "completed")
    assert open_store().models.get_by_name("quickstart").training_job_id == job.job_id
    shown = _text(notebook)
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "best possible, image + table" in shown
    assert "p000001" not in shown.replace("p000001.png", "")


def test_real_cohort(medfusion_home, hannover):
    notebook = _run("02-real-cohort.ipynb", folder=str(hannover), epochs=2)
    job = open_store().jobs.list().items[0]
    assert (job.status, job.current_epoch) == ("completed", 2)
    assert open_store().datasets.get_by_name("icu-radiographs").num_patients == 71
    # patients' ids are in the data, not in what the notebook shows
    import pandas as pd

    ids = set(pd.read_csv(hannover / "data.csv")["patient_id"].astype(str))
    shown = _text(notebook)
    assert not [one for one in ids if one in shown]


def test_training(medfusion_home):
    notebook = _run("03-training.ipynb")
    jobs = {job.name: job for job in open_store().jobs.list(folds=False).items}
    assert {job.status for job in jobs.values()} == {"completed"}
    assert jobs.keys() == {"steered", "killed", "forked", "three folds"}
    assert jobs["forked"].parent_job_id == jobs["killed"].job_id
    steered = open_store().jobs.get(jobs["steered"].job_id)
    assert (steered.training_config["lr"], steered.total_epochs) == (2e-3, 8)
    assert open_store().jobs.get(jobs["killed"].job_id).current_epoch == 10
    shown = _text(notebook)
    assert "interrupted, epoch" in shown
    assert shown.count("<svg") >= 2  # the curves of both trials


def test_workflow(medfusion_home):
    notebook = _run("05-workflow.ipynb")
    store = open_store()
    first, second = store.executions.list(workflow_id=store.workflows.get_by_name("fusion-study").id).items[::-1]
    assert {run.status for run in store.executions.node_runs(first.id)} == {"completed"}
    statuses = {run.node_id: run.status for run in store.executions.node_runs(second.id)}
    assert statuses["patients"] == statuses["parts"] == "cached"
    assert statuses["training"] == "completed"
    assert len(store.jobs.list().items) == 2
    (shown,) = [cell.outputs[0]["data"]["text/plain"] for cell in notebook.cells if "from_code(" in cell.source]
    assert shown == "True"


def test_data_and_models(medfusion_home):
    shown = _text(_run("04-data-and-models.ipynb"))
    assert "<MedicalImage DICOM CT series: 1 x 12 x 64 x 64, spacing 2.5 x 0.8 x 0.8 mm" in shown
    assert "Images preprocessed: crop foreground, clahe 2.0, resize pad" in shown
    assert "nodule AUROC" in shown
    assert "survival v1</b> on test: 240 rows" in shown
    assert "C index" in shown
    assert "without the event" in shown  # the survival of each group
    assert "above image only" in shown
    for row in ("image only", "table only", "gated", "transformer"):
        assert f">{row}</td>" in shown
    folds = [job for job in open_store().jobs.list(limit=100).items if job.num_folds]
    assert {job.status for job in folds} == {"completed"}


def test_they_are_clean_and_name_their_kernel():
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert notebook.metadata["kernelspec"]["name"] == "python3"
        for cell in notebook.cells:
            assert not cell.get("outputs"), f"{path.name} is stored with outputs"
            assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_each_is_run_here(path):
    assert path.name in Path(__file__).read_text(encoding="utf-8")
