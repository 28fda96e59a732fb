"""The OpenAPI document says what the server does: schemathesis sends what it allows and forbids, and looks at the answers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_hooks import ROWS
from jupyter_process import TOKEN, JupyterServer
from test_datasets import write_cohort

from medfusion_jupyter.server.app import ROUTES
from medfusion_jupyter.server.system import API
from medfusion_jupyter.store import home, open_store

JOB = {"model_config": {}, "data_config": {}, "training_config": {}, "total_epochs": 1, "watched_metric": "m"}
MODEL = {"file_size": 1, "format": "f", "backbone": "b", "num_classes": 2, "input_shape": [], "metrics": {}}
DATASET = {"fingerprint": "f", "num_samples": 1, "num_classes": 1, "class_distribution": {}}

CONFIG = """
# Jupyter answers 403 to who gives no token, and this check knows 401 alone; test_access.py tries every verb without one
[checks.missing_required_header]
enabled = false

# no schema says which cursors were handed out, which folders hold a cohort and which settings go together
[checks.positive_data_acceptance]
enabled = false
"""
EXAMPLES = 25


async def test_every_route_and_verb_is_in_the_document(ask):
    document = await ask("openapi.json")
    assert document["openapi"] == "3.1.0"
    told = {(path, verb) for path, item in document["paths"].items() for verb in item if verb != "parameters"}
    served = {
        (re.sub(r"\(\?P<(\w+)>.*?\)(?=/|$)", r"{\1}", route.removeprefix(API)).replace("\\", ""), verb.lower())
        for route, handler in ROUTES
        if handler.__name__ != "Feed"  # a websocket, which OpenAPI has no words for
        for verb in handler.verbs()
    }
    assert told == served
    operations = [document["paths"][path][verb] for path, verb in told]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert {"403", "503"} <= operation["responses"].keys()


@pytest.fixture
def server(either_database, tmp_path):
    """A server with rows of each kind: the first is somebody else's, the others may be changed and deleted."""
    store = open_store()
    somebody = {"by": "somebody else"}
    # it holds the only place, so that what is queued below is not trained; and only its owner may stop it
    holder = store.jobs.create("holder", **JOB, **somebody)
    store.queue.add(holder.job_id, **somebody)
    assert store.queue.launch_next(1, 0).job_id == holder.job_id
    running = JupyterServer(tmp_path / "jupyter", "--MedFusionApp.jobs_at_once=1")
    cohort = write_cohort(running.root / "cohort")
    store.datasets.save("small", data_path=str(cohort), **DATASET, **somebody)
    for number in range(1, ROWS + 1):
        whose = somebody if number == 1 else {}
        store.jobs.request(store.jobs.create(f"job {number}", **JOB, **whose).job_id, "stop", **whose)
        folder = home() / "models" / f"job_{number:04d}" / "epoch-0001"
        folder.mkdir(parents=True)
        for name in ("model.safetensors", "model.json"):
            (folder / name).write_text("files of a model")
        store.models.register("icu", path=str(folder), **MODEL, **whose)
        store.datasets.save(f"dataset {number}", data_path=str(cohort), **DATASET)
        store.workflows.create(f"workflow {number}", nodes=[{"id": "a"}], **whose)
    yield running
    running.close()
    store.close()


def test_whatever_is_sent_the_answers_are_as_the_document_says(server, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    here = str(Path(__file__).parent)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run"]
    # without the stateful phase: the document has no links to go along; the ids come from fuzz_hooks.py
    command += ["--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"]
    command += ["--continue-on-failure", "--header", f"Authorization: token {TOKEN}"]
    done = subprocess.run(
        [*command, f"{server.url}/medfusion/api/openapi.json"],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "fuzz_hooks",
            "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.process.poll() is None
    # it went to what is stored, and was not refused at the door
    events = open_store().events.list(limit=1_000_000)
    happened = {(event.entity, event.kind) for event in events}
    assert {
        ("job", "queued"), ("job", "deleted"), ("model", "registered"), ("model", "deleted"), ("model", "aliased"),
        ("dataset", "created"), ("workflow", "created"), ("workflow", "updated"), ("workflow", "deleted"),
    } <= happened  # fmt: skip
    assert [event.entity_id for event in events if event.kind == "launched"] == ["job_0001"]
