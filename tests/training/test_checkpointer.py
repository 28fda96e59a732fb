"""When a run is saved, what is kept of it, and from where it goes on."""

import subprocess
import sys
import time

import pytest

from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback
from medfusion_jupyter.training.checkpoints import read_checkpoint


def until(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def within_an_epoch(job):
    return [one for one in open_store().checkpoints.list(job.job_id) if not one.finishes_epoch]


ASK = {
    "this process": lambda job: job.checkpoint(),
    "another process": lambda job: subprocess.run(
        [sys.executable, "-c", f"import medfusion as mf; mf.load_job({job.job_id!r}).checkpoint()"], check=True
    ),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
def test_a_checkpoint_is_made_when_it_is_asked_for(train, ask):
    # an epoch that lasts until the stop
    job = train(epochs=2, callbacks=[Slow(0.25)], batch_size=2, accumulate_grad_batches=2)
    until(lambda: job.record.current_step >= 2, "it did not begin")
    assert within_an_epoch(job) == []
    ask(job)
    until(lambda: within_an_epoch(job), "nothing was saved")
    (saved,) = within_an_epoch(job)
    checkpoint = read_checkpoint(saved.checkpoint_path)
    assert (saved.epoch, saved.metrics, saved.is_best) == (0, {}, False)
    assert checkpoint.description["step"] == saved.step
    assert checkpoint.description["batch"] == 2 * saved.step
    assert "checkpoint" in [event.data.get("command") for event in open_store().events.list(entity_id=job.job_id)]
    job.stop()


class Slow(Callback):
    def __init__(self, seconds):
        self.seconds = seconds

    def batch_end(self, state):
        time.sleep(self.seconds)
