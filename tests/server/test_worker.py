"""`medfusion worker` trains what is queued without a server, each job once, and ends in good order."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from jupyter_process import JupyterServer
from patience import wait_for

import medfusion as mf
from medfusion_jupyter.store import open_store

FAST = {"image_encoder": None, "batch_size": 16, "device": "cpu", "patience": None}
COHORT = {"id": "a", "type": "source.synthetic", "settings": {"n": 100}}
LONG = {**FAST, "epochs": 100_000}


@pytest.fixture
def cohort(medfusion_home):
    return mf.synthetic_cohort(n=120, seed=0, image_size=16)


@pytest.fixture
def worker(medfusion_home, tmp_path):
    """Starts workers of this home; all end with the test."""
    started = []

    def start(*options):
        log = (tmp_path / f"worker-{len(started)}.log").open("w")
        command = [
            sys.executable,
            "-c",
            "import sys; from medfusion_jupyter.cli import main; sys.exit(main())",
            "worker",
        ]
        started.append(subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.STDOUT))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
            one.wait()
    for job in open_store().jobs.active():
        if job.pid is not None and psutil.pid_exists(job.pid):
            os.kill(job.pid, signal.SIGKILL)


def record(job):
    return open_store().jobs.get(job.job_id)


def until(job, *wanted):
    wait_for(lambda: record(job).status in wanted, lambda: record(job))
    return record(job)


def launches():
    return [event.entity_id for event in open_store().events.list(entity="job", limit=500) if event.kind == "launched"]


def test_two_workers_train_each_job_once(worker, cohort):
    jobs = [mf.train(cohort, detach=True, epochs=1, **FAST) for _ in range(2)]
    workers = [worker("--jobs-at-once", "2") for _ in range(2)]
    for job in jobs:
        assert until(job, "completed", "failed").status == "completed", record(job).error
    assert launches() == [job.job_id for job in jobs]
    for one in workers:
        one.terminate()
        assert one.wait(30) == 0


@pytest.mark.heavy
def test_beside_a_server_each_job_is_trained_once(worker, cohort, tmp_path):
    server = JupyterServer(tmp_path / "jupyter", "--MedFusionApp.jobs_at_once=3")
    try:
        worker("--jobs-at-once", "3")
        jobs = [mf.train(cohort, detach=True, epochs=2, **FAST) for _ in range(5)]
        for job in jobs:
            assert until(job, "completed", "failed").status == "completed", record(job).error
    finally:
        server.close()
    assert sorted(launches()) == [job.job_id for job in jobs]


@pytest.mark.parametrize("told", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.heavy)])
def test_told_to_end_it_stops_its_job_which_goes_on_later(worker, cohort, told):
    job, waiting = (mf.train(cohort, detach=True, **LONG) for _ in range(2))
    running = worker()
    wait_for(lambda: record(job).current_epoch >= 2, lambda: record(job))
    running.send_signal(told)
    assert running.wait(60) == 0
    ended = record(job)
    assert ended.status == "stopped"
    assert mf.load_job(job.job_id).model.epoch == ended.best_epoch
    assert record(waiting).status == "pending"
    assert launches() == [job.job_id]
    # nothing is lost: the step at which it was stopped is in a checkpoint
    assert max(one.step for one in open_store().checkpoints.list(job.job_id)) == ended.current_step


def test_a_worker_that_is_killed_leaves_its_job_alone_and_the_next_does_not_start_it_again(worker, cohort):
    job, after = mf.train(cohort, detach=True, **LONG), mf.train(cohort, detach=True, epochs=1, **FAST)
    first = worker()
    wait_for(lambda: record(job).current_epoch >= 1, lambda: record(job))
    first.kill()
    first.wait()
    worker()
    epoch = record(job).current_epoch
    wait_for(lambda: record(job).current_epoch > epoch, lambda: record(job))
    open_store().jobs.request(job.job_id, "stop")
    assert until(job, "stopped").error is None
    until(after, "completed")
    assert launches() == [job.job_id, after.job_id]


def test_a_process_that_cannot_begin_its_job_is_noted(worker, cohort):
    job = mf.train(cohort, detach=True, **FAST)
    with open_store().writing() as session:
        from medfusion_jupyter.store.job_moves import find_job

        row = find_job(session, job.job_id)
        row.training_config = {**row.training_config, "tabular_encoder": "mlpp"}
    worker()
    assert "ended with exit code 1 before it began" in until(job, "failed").error


def test_workflows_are_executed_too(worker, medfusion_home):
    store = open_store()
    workflow = store.workflows.create("cohort", nodes=[COHORT], edges=[])
    made = store.executions.create(workflow.id, queued=True)
    worker()
    wait_for(
        lambda: store.executions.get(made.id).status in ("completed", "failed"), lambda: store.executions.get(made.id)
    )
    assert store.executions.get(made.id).error is None
