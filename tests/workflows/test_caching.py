"""The same work is not done twice: outputs are kept by the content of settings and inputs, and what was cut off goes on."""

import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from graphs import FAST, study
from patience import wait_for
from pydantic import BaseModel

import medfusion as mf
from medfusion_jupyter.workflows import outputs as kept
from medfusion_jupyter.workflows.catalogue import Catalogue, Input, NodeType, Output
from medfusion_jupyter.workflows.execution import execute
from medfusion_jupyter.workflows.workflow_run import WorkflowFailed

CALLS = []


class Number(BaseModel):
    value: int = 1


def give(inputs, settings, context):
    CALLS.append(("give", settings.value))
    return {"out": settings.value}


def double(inputs, settings, context):
    CALLS.append(("double", inputs["of"]))
    context.note(of=inputs["of"])
    return {"out": 2 * inputs["of"]}


def fragile(inputs, settings, context):
    CALLS.append(("fragile", inputs["of"]))
    if BROKEN.is_set():
        raise RuntimeError("the disk is full")
    return {"out": -inputs["of"]}


BROKEN = threading.Event()
OUT, OF = (Output("out", "number"),), (Input("of", "number"),)
CATALOGUE = Catalogue(
    [
        NodeType("give", "T", "Give", "", give, outputs=OUT, settings=Number),
        NodeType("read", "T", "Read", "", give, outputs=OUT, settings=Number, always=True),
        NodeType("double", "T", "Double", "", double, OF, OUT),
        NodeType("fragile", "T", "Fragile", "", fragile, OF, OUT),
    ]
)


@pytest.fixture(autouse=True)
def no_calls_yet():
    CALLS.clear()
    BROKEN.clear()


@pytest.fixture
def image_table(tmp_path):
    """A CSV of 20 patients, each with an image of the same size on the disk."""
    rows = ["image,icu"]
    for number in range(20):
        np.save(tmp_path / f"{number}.npy", np.zeros((8, 8), np.uint8))
        rows.append(f"{number}.npy,{'yes' if number % 2 else 'no'}")
    table = tmp_path / "patients.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    return table


@pytest.fixture
def run(store):
    """Run a chain of nodes, given as id:type:value, to its end: the status of each by id."""

    def ran(*chain, **more):
        nodes, edges = [], []
        for text in chain:
            name, kind, *value = text.split(":")
            if nodes:
                edges.append({"source": nodes[-1]["id"], "source_port": "out", "target": name, "target_port": "of"})
            nodes.append({"id": name, "type": kind, "settings": {"value": int(value[0])} if value else {}})
        there = store.workflows.list().items
        if there:
            flow = store.workflows.update(there[0].id, seen_version=there[0].version, nodes=nodes, edges=edges)
        else:
            flow = store.workflows.create("chain", nodes=nodes, edges=edges)
        one = execute(flow.id, catalogue=CATALOGUE, **more)
        assert one.ended.wait(30)
        return {node.node_id: str(node.status) for node in store.executions.node_runs(one.execution_id)}

    return ran


def test_what_was_done_before_is_not_done_again_and_shows_what_it_noted(store, run):
    assert run("a:give:3", "b:double", "c:double") == dict.fromkeys("abc", "completed")
    assert run("a:give:3", "b:double", "c:double") == dict.fromkeys("abc", "cached")
    assert len(CALLS) == 3
    assert store.executions.node_runs(2)[1].output == {"of": 3}
    assert store.executions.get(2).status == "completed"


def test_a_change_runs_what_is_behind_it_alone(run):
    run("a:give:3", "b:double", "c:double")
    assert run("a:give:3", "b:double", "c:fragile") == {"a": "cached", "b": "cached", "c": "completed"}
    assert run("a:give:4", "b:double", "c:double") == dict.fromkeys("abc", "completed")
    # the same content from another place is the same work
    assert run("z:read:3", "y:double") == {"z": "completed", "y": "cached"}


def test_what_reads_from_outside_runs_each_time_and_is_compared_by_what_it_read(run):
    run("a:read:3", "b:double")
    assert run("a:read:3", "b:double") == {"a": "completed", "b": "cached"}


def test_fresh_makes_everything_again(run):
    run("a:give:3", "b:double")
    assert run("a:give:3", "b:double", fresh=True) == dict.fromkeys("ab", "completed")


def test_a_second_run_goes_on_at_the_node_that_failed(run):
    BROKEN.set()
    chain = ("a:give:1", "b:fragile", "c:double")
    assert run(*chain) == {"a": "completed", "b": "failed", "c": "skipped"}
    BROKEN.clear()
    assert run(*chain) == {"a": "cached", "b": "completed", "c": "completed"}
    assert CALLS == [("give", 1), ("fragile", 1), ("fragile", 1), ("double", -1)]


def test_a_function_with_other_code_is_another_node():
    def one(inputs, settings, context):
        return {"out": 1}

    def same(inputs, settings, context):
        return {"out": 1}

    def two(inputs, settings, context):
        return {"out": 2}

    def key(work):
        work.__qualname__ = "work"
        return kept.key_of(NodeType("t", "T", "T", "", work, outputs=OUT), Number(), {})

    assert key(one) == key(same) != key(two)


CELL = """
class Scale:
    by = 2

    def of(self, value):
        return value * self.by

def scaled(value):
    return Scale().of(value) if value < LIMIT else value

def work(inputs, settings, context, *, more=1):
    return {"out": [scaled(one) for one in inputs["in"]]}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("by = 2", "by = 3"),
        ("value * self.by", "value + self.by"),
        ("< LIMIT", "<= LIMIT"),
        ("more=1", "more=2"),
        ("10", "11"),
    ],
)
def test_a_function_that_uses_other_things_of_the_notebook_is_another_node(before, after):
    def key(cell):
        names = {"__name__": "__main__"}
        exec(cell, names)
        return kept.key_of(NodeType("t", "T", "T", "", names["work"], outputs=OUT), Number(), {})

    cell = "LIMIT = 10\n" + CELL
    assert key(cell) == key("\n" + cell) != key(cell.replace(before, after))


def test_another_default_of_a_setting_is_another_node():
    class Two(BaseModel):
        value: int = 2

    def key(settings):
        return kept.key_of(NodeType("t", "T", "T", "", give, outputs=OUT), settings, {})

    assert key(Number()) == key(Number()) != key(Two())


def test_another_version_of_the_project_does_the_work_anew(run, monkeypatch):
    run("a:give:3")
    monkeypatch.setattr(kept, "_version", lambda: "999")
    assert run("a:give:3") == {"a": "completed"}


def test_independent_branches_run_side_by_side(store):
    together = threading.Barrier(2, timeout=20)

    def meet(inputs, settings, context):
        together.wait()
        return {}

    own = Catalogue([NodeType("meet", "T", "Meet", "", meet, always=True)])
    flow = store.workflows.create("two", nodes=[{"id": "a", "type": "meet"}, {"id": "b", "type": "meet"}])
    one = execute(flow.id, catalogue=own)
    assert one.ended.wait(30)
    assert store.executions.get(one.execution_id).status == "completed"


def test_nodes_on_the_device_run_one_at_a_time(store):
    at_work, most = [], []

    def compute(inputs, settings, context):
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.05)
        at_work.pop()
        return {}

    own = Catalogue([NodeType("compute", "T", "Compute", "", compute, always=True, device=True)])
    flow = store.workflows.create("three", nodes=[{"id": name, "type": "compute"} for name in "abc"])
    runs = [execute(flow.id, catalogue=own) for _ in range(2)]
    assert all(one.ended.wait(30) for one in runs)
    assert most == [1] * 6


def workflow(**settings):
    wf = mf.Workflow("study")
    wf.graph = mf.Workflow.from_json({"name": "study", **study(**settings)}).graph
    return wf


def test_a_second_run_with_another_fusion_decodes_no_image_again(store, monkeypatch):
    first = workflow().run().wait()
    assert first.output("fit").epoch >= 1
    from medfusion_jupyter.data import pixel_cache

    decoded = []
    monkeypatch.setattr(pixel_cache, "decode", lambda *a, **k: decoded.append(a))
    wf = workflow()
    wf["fit"].set(fusion="concat")
    second = wf.run().wait()
    assert second.nodes["status"].to_dict() == {
        "report": "completed",
        "fit": "completed",
        "parts": "cached",
        "patients": "cached",
    }
    assert decoded == []
    assert second.output("fit").module.architecture.fusion == "concat"


def test_an_image_that_is_replaced_by_one_of_the_same_size_is_not_what_it_was(store, image_table):
    wf = mf.Workflow("files")
    wf.connect(wf.add("source.csv", table=str(image_table), image="image", target="icu"), wf.add("cohort.split"))
    assert wf.run().wait().nodes.loc["split", "status"] == "completed"
    assert wf.run().wait().nodes.loc["split", "status"] == "cached"
    picture = image_table.parent / "0.npy"
    before = picture.stat().st_size
    np.save(picture, np.ones((8, 8), np.uint8))
    assert picture.stat().st_size == before
    assert wf.run().wait().nodes.loc["split", "status"] == "completed"


def test_after_a_restart_of_the_kernel_a_finished_training_is_taken_from_its_job(store, monkeypatch):
    first = workflow().run().wait()
    monkeypatch.setattr("medfusion_jupyter.workflows.execution.outputs", kept.Outputs())
    second = workflow().run().wait()
    assert second.nodes["status"].to_dict() == {
        "report": "cached",
        "fit": "cached",
        "parts": "completed",
        "patients": "completed",
    }
    assert second.output("fit").job_id == first.output("fit").job_id
    assert second.output("report") == first.output("report")
    assert len(store.jobs.list().items) == 1


def test_a_training_that_was_stopped_goes_on_with_its_job(store):
    run = workflow(epochs=3000).run()
    until = time.monotonic() + 60
    while not store.jobs.list().items or store.jobs.list().items[0].current_epoch < 2:
        assert time.monotonic() < until
        time.sleep(0.02)
    run.stop()
    assert run.wait().status == "stopped"
    job_id = store.jobs.list().items[0].job_id
    again = workflow(epochs=3000).run()
    while store.jobs.get(job_id).status != "running":
        assert time.monotonic() < until
        time.sleep(0.02)
    assert len(store.jobs.list().items) == 1
    # alone it is stopped to keep its best epoch, and the graph goes on
    mf.load_job(job_id).stop()
    again.wait()
    assert again.nodes.loc["fit", "status"] == "completed"
    assert again.output("fit").job_id == job_id


def test_a_run_tells_what_failed_and_gives_what_there_is(store):
    wf = workflow(image_encoder="resnet19")
    run = wf.run()
    with pytest.raises(WorkflowFailed, match="fit: .*resnet19"):
        run.wait()
    assert len(run.output("patients")) == 120
    with pytest.raises(WorkflowFailed, match="'fit' is failed"):
        run.output("fit")
    with pytest.raises(KeyError, match="Did you mean 'fit'"):
        run.output("fitt")
    assert "✕ fit: failed" in repr(run)
    assert "resnet19" in run._repr_html_()
    assert "text/html" in {node.node_id: node for node in run.node_runs}["patients"].output["preview"]


def test_the_model_of_a_graph_of_parts_is_that_of_the_settings(store):
    wf = mf.Workflow.from_template("image-and-table")
    wf["patients"].set(n=120, image_size=16)
    wf["training"].set(epochs=1, image_size=16)
    run = wf.run().wait()
    parts = run.output("training").module.architecture
    assert (parts.image_encoder, parts.table_encoder, parts.fusion) == ("light_cnn", "mlp", "gated")
    job = store.jobs.get(run.output("training").job_id)
    assert job.training_config["augment"]["rotate"] == 10


@pytest.mark.heavy
@pytest.mark.parametrize("template", [one.name for one in mf.Workflow.templates()])
def test_every_template_runs_as_it_is(store, template):
    run = mf.Workflow.from_template(template).run().wait(600)
    assert set(run.nodes["status"]) <= {"completed", "cached"}


IN_A_KERNEL = """
import sys
import medfusion as mf
wf = mf.load_workflow("study")
wf.run()
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["killed", "shut down"])
def test_after_a_kernel_has_ended_in_mid_run_the_training_goes_on_with_its_job(store, end):
    workflow(epochs=25).save()
    kernel = subprocess.Popen([sys.executable, "-c", IN_A_KERNEL], stdin=subprocess.PIPE)
    try:
        until = time.monotonic() + 90
        while not (jobs := store.jobs.list().items) or not store.checkpoints.list(jobs[0].job_id):
            assert time.monotonic() < until, "it did not train"
            time.sleep(0.02)
    finally:
        if end == "killed":
            kernel.kill()
        kernel.communicate()
    (job,) = jobs
    run = mf.load_workflow("study").run().wait(120)
    assert run.status == "completed"
    # the second run may be done before the silence of the first is long enough
    wait_for(lambda: store.executions.get(1).status == "interrupted", "the first run was not missed")
    cut_off = {node.node_id: node.status for node in store.executions.node_runs(1)}
    assert cut_off["fit"] == "interrupted"
    assert run.output("fit").job_id == job.job_id
    assert [one.job_id for one in store.jobs.list().items] == [job.job_id]
    assert store.jobs.get(job.job_id).current_epoch == 25


def test_another_clahe_decodes_the_images_again_and_another_fusion_does_not(store, medfusion_home):
    def decoded():
        return len(list((medfusion_home / "cache" / "pixels").glob("*.npy")))

    wf = mf.Workflow("steps")
    source = wf.add("source.synthetic", n=60, image_size=16)
    images, table, parts, fit = (
        wf.add(kind, id=name, **settings)
        for kind, name, settings in (
            ("cohort.preprocess_images", "images", {"clahe": 2.0}),
            ("cohort.preprocess_table", "table", {"scale": "robust"}),
            ("cohort.split", "parts", {}),
            ("train", "fit", {**FAST, "epochs": 1, "fusion": "concat"}),
        )
    )
    for giving, taking in itertools.pairwise([source, images, table, parts, fit]):
        wf.connect(giving, taking)
    run = wf.run().wait(120)
    assert run.output("fit").spec.image_preprocessing.clahe == 2.0
    assert decoded() == 1
    fit.set(fusion="gated")
    states = wf.run().wait(120).nodes["status"]
    assert [states[name] for name in ("images", "table", "parts", "fit")] == [*["cached"] * 3, "completed"]
    assert decoded() == 1
    table.set(scale="standard")
    wf.run().wait(120)
    assert decoded() == 1
    images.set(clahe=4.0)
    assert wf.run().wait(120).nodes.loc["fit", "status"] == "completed"
    assert decoded() == 2
