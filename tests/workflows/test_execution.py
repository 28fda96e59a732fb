"""The engine: nodes in their order, faults where they belong, stops that stop, and a state in the store for each step."""

import threading
import time

import pytest
from graphs import edge, study

import medfusion as mf
from medfusion_jupyter.store import IllegalTransition
from medfusion_jupyter.workflows.catalogue import Catalogue, Input, NodeType, Output
from medfusion_jupyter.workflows.context import Context
from medfusion_jupyter.workflows.execution import ExecutionRun, execute


class Bench:
    """Node types whose work a test holds in its hands."""

    def __init__(self):
        self.order = []
        self.given = {}
        self.begun, self.go_on = threading.Event(), threading.Event()
        number = (Output("out", "number"),)
        several = (Input("of", "number", several=True),)
        kinds = {
            "one": (self.one, (), number),
            "sum": (self.sum, several, number),
            "bad": (self.bad, several, number),
            "exits": (self.exits, several, number),
            "wrong": (lambda i, s, c: {"in": 1}, several, number),
            "patient": (self.patient, several, number),
            "polite": (self.polite, several, number),
            "notes": (self.notes, (), ()),
        }
        self.catalogue = Catalogue(
            NodeType(name, "T", name, "", run, inputs, outputs, always=True)
            for name, (run, inputs, outputs) in kinds.items()
        )
        self.catalogue.add(NodeType("costly", "T", "", "", self.sum, several, number, always=True, device=True))
        for name, run in (("opens", self.patient), ("shuts", self.shuts)):
            self.catalogue.add(
                NodeType(name, "T", "", "", run, several, number, always=True, gate=lambda settings: True)
            )

    def one(self, inputs, settings, context):
        self.order.append(context.node_id)
        return {"out": 1}

    def sum(self, inputs, settings, context):
        self.order.append(context.node_id)
        self.given[context.node_id] = inputs["of"]
        return {"out": 10 * sum(inputs["of"])}

    def bad(self, inputs, settings, context):
        raise RuntimeError("no such thing \0")

    def shuts(self, inputs, settings, context):
        self.begun.set()
        assert self.go_on.wait(30)
        raise RuntimeError("not so")

    def exits(self, inputs, settings, context):
        raise SystemExit(1)

    def patient(self, inputs, settings, context):
        self.begun.set()
        assert self.go_on.wait(30)
        return {"out": 2}

    def polite(self, inputs, settings, context):
        self.begun.set()
        while True:
            context.raise_if_stopping()
            self.go_on.wait(0.02)

    def notes(self, inputs, settings, context):
        context.note(rows=3)
        context.note(share=0.5)
        return {}


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def flow(store):
    """Store a workflow given in short: name:type, and which nodes lead to which."""

    def make(nodes, *ways):
        made = [dict(zip(("id", "type"), node.split(":"), strict=True)) for node in nodes.split()]
        edges = [edge(source, "out", target, "of") for way in ways for source, target in [way.split(">")]]
        return store.workflows.create("flow", nodes=made, edges=edges).id

    return make


@pytest.fixture
def ended(store, bench):
    """Execute a workflow to its end: the execution and the runs of its nodes by id."""

    def run(workflow_id, **more):
        run = execute(workflow_id, catalogue=bench.catalogue, **more)
        assert run.ended.wait(30)
        return seen(store, run)

    return run


def seen(store, run):
    runs = {node.node_id: node for node in store.executions.node_runs(run.execution_id)}
    return store.executions.get(run.execution_id), runs


def statuses(runs):
    return {name: str(node.status) for name, node in runs.items()}


def test_each_node_runs_after_those_it_takes_from_and_gets_what_they_give(store, bench, flow, ended):
    done, runs = ended(flow("total:sum a:one half:sum b:one", "a>half", "half>total", "b>total"))
    assert (done.status, done.result, done.error) == ("completed", {"nodes": {"completed": 4}}, None)
    assert bench.given == {"half": [1], "total": [10, 1]}
    assert sorted(bench.order) == ["a", "b", "half", "total"]
    assert bench.order.index("a") < bench.order.index("half") < bench.order.index("total") == 3
    assert all(done.started_at <= run.started_at <= run.completed_at <= done.completed_at for run in runs.values())
    workflow = store.workflows.get(done.workflow_id)
    assert (workflow.execution_count, workflow.last_executed_at) == (1, done.started_at)
    assert workflow.version == 1


@pytest.mark.parametrize("kind", ["bad", "exits", "wrong"])
def test_a_node_that_fails_skips_what_depends_on_it_and_keeps_the_rest(bench, flow, ended, kind):
    done, runs = ended(flow(f"a:one f:{kind} g:sum h:sum i:sum", "a>f", "f>g", "g>h", "a>i"))
    assert statuses(runs) == {"a": "completed", "f": "failed", "g": "skipped", "h": "skipped", "i": "completed"}
    assert done.status == "failed"
    assert "f" in done.error
    words = {"bad": r"RuntimeError: no such thing \0", "exits": "SystemExit: 1", "wrong": "gave (in)"}
    assert words[kind] in runs["f"].error
    assert "'f', which did not complete" in runs["g"].error


@pytest.mark.parametrize("kind", ["opens", "shuts"])
def test_nothing_costly_begins_before_a_gate_and_nothing_at_all_after_one_that_fails(store, bench, flow, kind):
    nodes = f"a:one early:costly gate:{kind} after:sum late:costly cheap:sum"
    ways = ("a>early", "early>gate", "gate>after", "a>late", "late>cheap")
    run = execute(flow(nodes, *ways), catalogue=bench.catalogue)
    assert bench.begun.wait(30)
    assert bench.order == ["a", "early"]  # the gate takes from them
    bench.go_on.set()
    assert run.ended.wait(30)
    done, runs = seen(store, run)
    whole, gate, rest, why = {
        "opens": ("completed", "completed", "completed", None),
        "shuts": ("failed", "failed", "skipped", "'gate' stopped the run"),
    }[kind]
    assert (done.status, runs["late"].error) == (whole, why)
    before = {"a": "completed", "early": "completed"}
    assert statuses(runs) == before | {"gate": gate, "after": rest, "late": rest, "cheap": rest}


def test_a_gate_that_is_skipped_holds_nothing_back(bench, flow, ended):
    _, runs = ended(flow("a:one f:bad gate:opens late:costly", "a>f", "f>gate", "a>late"))
    assert statuses(runs) == {"a": "completed", "f": "failed", "gate": "skipped", "late": "completed"}


def test_what_a_node_notes_is_its_output(ended, flow):
    _, runs = ended(flow("n:notes"))
    assert runs["n"].output == {"rows": 3, "share": 0.5}


class Mute(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (Mute(), "Mute"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (RuntimeError("x" * 5000), f"RuntimeError: {'x' * 4000}… and 1,000 characters more"),
    ],
)
def test_whatever_a_node_raises_is_told_in_few_words(store, raised, words):
    def raising(inputs, settings, context):
        raise raised

    flow = store.workflows.create("raising", nodes=[{"id": "a", "type": "raises"}])
    run = execute(flow.id, catalogue=Catalogue([NodeType("raises", "T", "", "", raising)]))
    assert run.ended.wait(30)
    assert store.executions.get(run.execution_id).status == "failed"
    assert store.executions.node_runs(run.execution_id)[0].error == words


def test_what_a_node_notes_is_json_that_every_database_keeps():
    kept = {}
    context = Context(1, "a", None, threading.Event(), kept.update)
    context.note(auroc={"value": 0.5, "low": float("nan")}, sizes=(1, float("inf")))
    assert kept == {"auroc": {"value": 0.5, "low": None}, "sizes": [1, None]}
    with pytest.raises(TypeError, match=r"note\(model=…\) was given a object"):
        context.note(model=object())


def test_how_far_a_node_is_is_told_once_a_second_at_most(store, monkeypatch):
    told = []

    def slow(inputs, settings, context):
        for step in range(100):
            context.progress(step / 100, loss=1 - step / 100)
        return {}

    own = Catalogue([NodeType("slow", "T", "Slow", "", slow, always=True)])
    note = store.executions.note_node
    monkeypatch.setattr(store.executions, "note_node", lambda *a, **k: (told.append(a[2]), note(*a, **k)))
    run = execute(store.workflows.create("w", nodes=[{"id": "n", "type": "slow"}]).id, catalogue=own)
    assert run.ended.wait(30)
    assert told[0] == {"progress": 0.0, "loss": 1.0}
    assert len(told) < 10
    assert store.executions.node_runs(run.execution_id)[0].output == told[-1]


def test_a_training_tells_its_progress_and_watched_metric_while_it_runs(store):
    run = execute(store.workflows.create("study", **study(epochs=400)).id)

    def metric_told():
        output = {node.node_id: node.output for node in store.executions.node_runs(run.execution_id)}["fit"] or {}
        return output.get("value") is not None and output

    try:
        until = time.monotonic() + 60
        while not (output := metric_told()):
            assert time.monotonic() < until, "no metric was told"
            time.sleep(0.02)
        assert (output["metric"], output["epochs"]) == ("val/auroc", 400)
        assert 0 < output["progress"] < 1
    finally:
        run.stop()
        assert run.ended.wait(30)


def test_a_stop_lets_a_node_give_way_and_those_after_it_do_not_begin(store, bench, flow):
    run = execute(flow("a:one w:polite b:sum c:sum", "a>w", "w>b", "b>c"), catalogue=bench.catalogue)
    assert bench.begun.wait(30)
    asked = store.executions.request_stop(run.execution_id)
    assert asked.status == "running"
    store.writer.wake()
    assert run.ended.wait(30)
    done, runs = seen(store, run)
    assert done.status == "stopped"
    assert statuses(runs) == {"a": "completed", "w": "stopped", "b": "stopped", "c": "stopped"}
    assert bench.order == ["a"]
    with pytest.raises(IllegalTransition, match="stopped"):
        store.executions.request_stop(run.execution_id)


def test_a_node_that_does_not_give_way_ends_first_and_keeps_what_it_did(store, bench, flow):
    run = execute(flow("a:one w:patient b:sum", "a>w", "w>b"), catalogue=bench.catalogue)
    assert bench.begun.wait(30)
    run.stop()
    bench.go_on.set()
    assert run.ended.wait(30)
    done, runs = seen(store, run)
    assert (done.status, statuses(runs)) == ("stopped", {"a": "completed", "w": "completed", "b": "stopped"})


def test_a_stop_that_comes_when_nothing_is_left_changes_nothing(store, bench, flow):
    run = execute(flow("a:one w:patient", "a>w"), catalogue=bench.catalogue)
    assert bench.begun.wait(30)
    run.stop()
    bench.go_on.set()
    assert run.ended.wait(30)
    done, runs = seen(store, run)
    assert (done.status, statuses(runs)) == ("completed", {"a": "completed", "w": "completed"})


def test_an_earlier_version_is_executed_as_it_was(store, flow, ended):
    flow_id = flow("a:one")
    store.workflows.update(flow_id, seen_version=1, nodes=[{"id": "n", "type": "notes"}], edges=[])
    done, runs = ended(flow_id, version=1)
    assert (done.version, list(runs)) == (1, ["a"])


def test_a_graph_with_issues_fails_with_them_in_words_and_runs_nothing(bench, flow, ended):
    done, runs = ended(flow("a:one b:sums", "a>b"))
    assert done.status == "failed"
    assert "Did you mean 'sum'?" in done.error
    assert statuses(runs) == {"a": "skipped", "b": "skipped"}
    assert bench.order == []


def test_an_execution_is_run_once(store, bench, flow):
    made = store.executions.create(flow("a:one"))
    run = ExecutionRun(store, made.id, catalogue=bench.catalogue)
    with pytest.raises(IllegalTransition):
        ExecutionRun(store, made.id, catalogue=bench.catalogue)
    assert run.ended.wait(30)
    assert bench.order == ["a"]


def test_an_execution_that_was_deleted_under_it_stops_without_a_word(store, bench, flow, caplog):
    run = execute(flow("a:one w:polite b:sum", "a>w", "w>b"), catalogue=bench.catalogue)
    assert bench.begun.wait(30)
    with store.writing() as session:
        from medfusion_jupyter.store.execution_moves import find_execution

        session.delete(find_execution(session, run.execution_id))
    store.writer.wake()
    assert run.ended.wait(30)
    assert "taken over or deleted" in caplog.text


def test_a_study_trains_an_ordinary_job_and_evaluates_its_model(store):
    workflow = store.workflows.create("study", **study())
    run = execute(workflow.id)
    assert run.ended.wait(120)
    done, runs = seen(store, run)
    assert done.status == "completed", (done.error, runs)
    job = store.jobs.get(runs["fit"].output["job_id"])
    assert (job.status, job.workflow_execution_id) == ("completed", done.id)
    assert sum(runs["parts"].output[part] for part in ("train", "val", "test")) == 120
    auroc = runs["report"].output["auroc"]
    expected = mf.evaluate(mf.load_job(job.job_id).model)
    assert (auroc["value"], auroc["low"]) == (expected.auroc.value, expected.auroc.low)
    assert runs["fit"].output["value"] == job.best_value


def test_a_stop_of_the_execution_stops_its_training(store):
    run = execute(store.workflows.create("study", **study(epochs=5000)).id)
    job_id = until_it_trains(store, run)
    store.executions.request_stop(run.execution_id)
    store.writer.wake()
    assert run.ended.wait(30)
    done, runs = seen(store, run)
    assert (done.status, runs["fit"].status, runs["report"].status) == ("stopped", "stopped", "stopped")
    assert store.jobs.get(job_id).status == "stopped"


def test_a_training_that_is_stopped_alone_gives_its_best_epoch_and_the_graph_goes_on(store):
    run = execute(store.workflows.create("study", **study(epochs=5000)).id)
    job_id = until_it_trains(store, run)
    mf.load_job(job_id).stop()
    assert run.ended.wait(30)
    done, runs = seen(store, run)
    assert (done.status, runs["fit"].status, runs["report"].status) == ("completed", "completed", "completed")
    assert store.jobs.get(job_id).status == "stopped"


def test_a_training_that_fails_fails_its_node_with_the_reason(store):
    run = execute(store.workflows.create("study", **study(image_encoder="resnet19")).id)
    assert run.ended.wait(30)
    done, runs = seen(store, run)
    assert (done.status, runs["fit"].status, runs["report"].status) == ("failed", "failed", "skipped")
    assert "resnet19" in runs["fit"].error


def test_a_stored_dataset_is_a_source(store):
    mf.synthetic_cohort(n=40, image_size=16).save("icu")
    nodes = [{"id": "d", "type": "source.dataset", "settings": {"name": "icu"}}]
    nodes.append({"id": "x", "type": "source.dataset", "settings": {"name": "icv"}})
    run = execute(store.workflows.create("w", nodes=nodes).id)
    assert run.ended.wait(30)
    _, runs = seen(store, run)
    assert (runs["d"].status, runs["d"].output["rows"]) == ("completed", 40)
    assert runs["x"].status == "failed"
    assert "icu" in runs["x"].error


def until_it_trains(store, run):
    until = time.monotonic() + 60
    while True:
        noted = {node.node_id: node.output for node in store.executions.node_runs(run.execution_id)}["fit"]
        if noted and store.jobs.get(noted["job_id"]).current_epoch >= 2 and store.jobs.history(noted["job_id"]):
            return noted["job_id"]
        assert time.monotonic() < until, "it did not train"
        time.sleep(0.02)
