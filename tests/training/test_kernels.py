"""Training in a real kernel, which is then killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from jupyter_client.manager import start_new_kernel

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training.checkpoints import read_checkpoint

START = """
import medfusion as mf
cohort = mf.synthetic_cohort(n=300, seed=0, image_size=16)
settings = dict(image_encoder="light_cnn", image_size=16, batch_size=16, device="cpu", patience=None)
"""


@pytest.fixture
def kernel(medfusion_home):
    manager, client = start_new_kernel(kernel_name="python3")

    def run(code):
        reply = client.execute_interactive(code, timeout=120, store_history=False)
        assert reply["content"]["status"] == "ok", reply["content"]
        return manager

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def _wait(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def test_the_call_returns_at_once_and_the_kernel_stays_free(kernel):
    kernel(
        START
        + "job = mf.train(cohort, epochs=400, **settings); assert job.status in ('pending', 'initializing', 'running')"
    )
    job = open_store().jobs.list().items[0]
    assert job.kernel_id is not None
    kernel("job.pause()")
    _wait(lambda: open_store().jobs.get(job.job_id).status == "paused", 30, "it did not pause")
    kernel("job.stop(); job.wait()")
    assert open_store().jobs.get(job.job_id).status == "stopped"


def test_a_killed_kernel_leaves_the_store_sound_and_the_job_resumable(kernel, medfusion_home):
    manager = kernel(START + "job = mf.train(cohort, epochs=400, **settings)")
    job_id = open_store().jobs.list().items[0].job_id
    _wait(lambda: len(open_store().jobs.history(job_id)) >= 3, 60, "it did not get to epoch 3")
    pid = open_store().jobs.get(job_id).pid
    os.kill(pid, signal.SIGKILL)
    manager.provisioner.process.wait() if hasattr(manager.provisioner, "process") else None
    _wait(lambda: open_store().jobs.get(job_id).status == "interrupted", 30, "nobody noticed")

    from sqlalchemy import text

    with open_store().engine.connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    record = open_store().jobs.get(job_id)
    assert "is gone" in record.error
    last = open_store().checkpoints.list(job_id)[-1]
    assert read_checkpoint(Path(last.checkpoint_path)).description["epoch"] == last.epoch
    assert mf.load_job(job_id).model.epoch == record.best_epoch
    # what was recorded before the checkpoint is in the store
    assert open_store().metrics.series(job_id, "train/loss").steps[: last.step] == list(range(1, last.step + 1))

    # another kernel goes on from there to the end
    store = open_store()
    with store.writing() as session:
        from sqlalchemy import update

        from medfusion_jupyter.store.tables import JobRow

        # fewer epochs than it was started with, for the test's sake
        total = last.epoch + 3
        settings = {**record.training_config, "epochs": total}
        session.execute(
            update(JobRow).where(JobRow.job_id == job_id).values(total_epochs=total, training_config=settings)
        )
    resumed = mf.resume(job_id).wait()
    assert resumed.status == "completed"
    assert list(resumed.history.index) == list(range(1, total + 1))
    losses = resumed.metrics("train/loss")
    assert list(losses.index) == list(range(1, resumed.record.total_steps + 1))


def test_a_kernel_that_is_shut_down_in_order_says_so_at_once(kernel):
    manager = kernel(START + "job = mf.train(cohort, epochs=400, **settings)")
    job_id = open_store().jobs.list().items[0].job_id
    _wait(lambda: len(open_store().jobs.history(job_id)) >= 1, 60, "it did not get to epoch 1")
    manager.shutdown_kernel(now=False)
    record = open_store().jobs.get(job_id)
    assert (record.status, record.error) == ("interrupted", "the kernel was shut down")


INTERRUPTED = """
import medfusion as mf

cohort = mf.synthetic_cohort(n=300, seed=0, image_size=16)
settings = dict(image_encoder=None, batch_size=16, device="cpu", patience=None, epochs=30, augment=False)
mf.train(cohort, **settings).wait()
job = mf.train(cohort, **settings)
interrupts = 0

def look():
    while job.status != "completed":
        job.wait()

def again(work):
    global interrupts
    while True:
        try:
            return work()
        except KeyboardInterrupt:
            interrupts += 1

print("go", flush=True)
# one may come while another is caught
again(lambda: again(lambda: again(look)))
print(interrupts, flush=True)
"""


def test_interrupts_at_any_moment_end_the_waiting_and_change_no_bit(medfusion_home):
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True)
    next(line for line in process.stdout if line.strip() == "go")
    moments = random.Random(0)
    while open_store().jobs.get("job_0002").progress < 0.7:
        process.send_signal(signal.SIGINT)
        time.sleep(moments.uniform(0.001, 0.08))
    rest = process.stdout.read()
    assert process.wait(120) == 0
    assert int(rest.split()[-1]) >= 3
    plain, interrupted = mf.load_job("job_0001"), mf.load_job("job_0002")
    assert (interrupted.status, interrupted.record.error) == ("completed", None)
    ours, theirs = interrupted.model.module.state_dict(), plain.model.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert list(interrupted.metrics("train/loss")) == list(plain.metrics("train/loss"))
