"""Jobs without a notebook: a real server trains them in kernels of their own, one at a time, each once."""

import datetime as dt
import os
import signal
import urllib.error

import psutil
import pytest
from patience import wait_for

import medfusion as mf
from medfusion_jupyter.store import home, open_store

FAST = {"image_encoder": "light_cnn", "image_size": 16, "batch_size": 16, "device": "cpu", "patience": None}
LONG = {**FAST, "epochs": 2000}
SHORT = {**FAST, "epochs": 2}


@pytest.fixture
def cohort(either_database):
    return mf.synthetic_cohort(n=120, seed=0, image_size=16).save("small")


@pytest.fixture
def server(cohort, start_server):
    """Starts servers of a home that has a cohort."""
    return start_server


def status(job_id):
    return open_store().jobs.get(job_id).status


def until_status(job_id, *wanted, seconds=90):
    wait_for(lambda: status(job_id) in wanted, lambda: f"{job_id} is {open_store().jobs.get(job_id)}", seconds)


def test_a_job_started_over_rest_is_trained_in_a_kernel_that_shows_and_then_goes(server):
    running = server()
    body = {"dataset": "small", "config": SHORT, "name": "from afar"}
    job = running.ask("POST", "medfusion/api/training/start", body)
    assert (job["status"], job["name"]) == ("pending", "from afar")
    wait_for(running.kernels, "no kernel was started")
    sessions = running.ask("GET", "api/sessions")
    assert [session["path"] for session in sessions] in ([], [f"medfusion/{job['job_id']}"])
    until_status(job["job_id"], "completed", "failed")
    done = open_store().jobs.get(job["job_id"])
    assert (done.status, done.current_epoch) == ("completed", 2), done.error
    assert done.kernel_id is not None
    assert mf.load_model("from afar").job_id == job["job_id"]
    wait_for(lambda: not running.kernels(), "the kernel of the finished job is still there")


def test_the_queue_goes_by_priority_and_one_at_a_time_and_a_bad_setting_holds_nobody_up(server, cohort):
    first = mf.train(cohort, detach=True, name="first", **SHORT)
    bad = mf.train(cohort, detach=True, name="bad", priority=7, **{**SHORT, "epochs": 2})
    with open_store().writing() as session:
        from medfusion_jupyter.store.job_moves import find_job

        row = find_job(session, bad.job_id)
        row.training_config = {**row.training_config, "image_encoder": "resnet19"}
    urgent = mf.train(cohort, detach=True, name="urgent", priority=5, **SHORT)
    assert [job.name for job in open_store().queue.waiting()] == ["bad", "urgent", "first"]
    assert repr(first).startswith("<Job job_0001 'first': pending")
    server()
    for job in (first, urgent):
        until_status(job.job_id, "completed", seconds=120)
    refused = open_store().jobs.get(bad.job_id)
    assert refused.status == "failed"
    assert "resnet19" in refused.error
    happened = [
        (event.entity_id, event.kind if event.kind == "launched" else event.data["to"])
        for event in open_store().events.list(entity="job")
        if event.kind == "launched" or event.data.get("to") in ("completed", "failed")
    ]
    assert happened == [
        (bad.job_id, "launched"),
        (bad.job_id, "failed"),
        (urgent.job_id, "launched"),
        (urgent.job_id, "completed"),
        (first.job_id, "launched"),
        (first.job_id, "completed"),
    ]


def test_the_folds_of_a_detached_cross_validation_are_trained_and_predicted_without_this_process(server, cohort):
    found = mf.cross_validate(cohort, folds=2, detach=True, **SHORT)
    assert [job.name for job in open_store().queue.waiting()] == [
        "small-light_cnn-mlp-gated fold 1",
        "small-light_cnn-mlp-gated fold 2",
    ]
    running = server()
    until_status(found.job_id, "completed", "failed", seconds=180)
    wait_for(lambda: not running.kernels(), "a kernel is still there")
    record = open_store().jobs.get(found.job_id)
    assert (record.status, record.folds_done, record.error) == ("completed", 2, None)
    assert record.best_value is not None
    assert len(list(home().glob("jobs/*/out-of-fold-*.csv"))) == 2
    assert found.metrics.loc["auroc", "mean"] == record.best_value
    assert sorted(found.predictions["row"]) == list(range(len(cohort)))


def test_a_job_waits_for_its_time_and_an_interrupted_kernel_keeps_the_best(server, cohort):
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    job = mf.train(cohort, detach=True, not_before=later, **LONG)
    running = server()
    other = mf.train(cohort, detach=True, priority=-1, **SHORT)
    until_status(other.job_id, "completed")
    assert status(job.job_id) == "pending"
    assert open_store().jobs.get(job.job_id).launched_at is None
    soon = {"not_before": dt.datetime.now(dt.UTC).isoformat(), "name": "now", "seen": {"name": job.record.name}}
    assert running.ask("PATCH", f"medfusion/api/training/{job.job_id}", soon)["name"] == "now"
    wait_for(lambda: open_store().jobs.get(job.job_id).current_epoch >= 2, "it did not train")
    changed = running.ask("PATCH", f"medfusion/api/training/{job.job_id}", {"lr": 0.0005, "epochs": 1500})
    assert changed["status"] == "running"
    wait_for(lambda: open_store().jobs.get(job.job_id).total_epochs == 1500, "the change was not taken over")
    kernel = open_store().jobs.get(job.job_id).kernel_id
    running.ask("POST", f"api/kernels/{kernel}/interrupt")
    until_status(job.job_id, "stopped")
    assert mf.load_job(job.job_id).model.epoch >= 1
    assert open_store().jobs.get(job.job_id).training_config["lr"] == 0.0005


def test_a_killed_server_leaves_the_run_alone_and_the_next_one_does_not_start_it_again(server, cohort):
    first = server()
    job = mf.train(cohort, detach=True, **LONG)
    waiting = mf.train(cohort, detach=True, **SHORT)
    wait_for(lambda: open_store().jobs.get(job.job_id).current_epoch >= 1, "it did not train")
    before = open_store().jobs.get(job.job_id)
    first.kill()
    second = server()
    seen = second.ask("GET", f"medfusion/api/training/status/{job.job_id}")
    assert seen["status"] == "running"
    wait_for(lambda: open_store().jobs.get(job.job_id).current_epoch > before.current_epoch + 2, "it stands still")
    after = open_store().jobs.get(job.job_id)
    assert (after.pid, after.run_token, after.status) == (before.pid, before.run_token, "running")
    assert status(waiting.job_id) == "pending"
    second.ask("POST", f"medfusion/api/training/stop/{job.job_id}")
    until_status(job.job_id, "stopped")
    wait_for(lambda: not psutil.pid_exists(before.pid), "the kernel without a server did not end")
    until_status(waiting.job_id, "completed")
    launched = [event.entity_id for event in open_store().events.list() if event.kind == "launched"]
    assert launched == [job.job_id, waiting.job_id]


def test_a_killed_kernel_is_noticed_and_its_job_goes_on_when_asked(server, cohort):
    running = server()
    job = mf.train(cohort, detach=True, **{**FAST, "epochs": 400})
    wait_for(lambda: len(open_store().checkpoints.list(job.job_id)) >= 1, "it did not train")
    os.kill(open_store().jobs.get(job.job_id).pid, signal.SIGKILL)
    until_status(job.job_id, "interrupted")
    wait_for(lambda: not running.kernels(), "the killed kernel came back")
    epoch = open_store().checkpoints.list(job.job_id)[-1].epoch
    running.ask("POST", f"medfusion/api/training/resume/{job.job_id}")
    wait_for(lambda: open_store().jobs.get(job.job_id).current_epoch > epoch, "it did not go on")
    assert [row["epoch"] for row in open_store().jobs.history(job.job_id)][:epoch] == list(range(1, epoch + 1))
    mf.load_job(job.job_id).stop()
    until_status(job.job_id, "stopped")


def test_what_cannot_be_started_is_refused_at_once(server):
    running = server()

    def refused(body):
        with pytest.raises(urllib.error.HTTPError) as caught:
            running.ask("POST", "medfusion/api/training/start", body)
        return caught.value.code, caught.value.read().decode()

    code, words = refused({"dataset": "small", "config": {"epoch": 3}})
    assert code == 422
    assert "Did you mean 'epochs'?" in words
    code, words = refused({"dataset": "large"})
    assert code == 404
    assert "small" in words
    assert refused({"dataset": "small", "priority": 1001})[0] == 422
    assert refused({"dataset": "small", "not_before": "2026-01-01T00:00:00"})[0] == 422
    assert open_store().jobs.list().items == []
