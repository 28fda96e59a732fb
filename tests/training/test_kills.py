"""A run whose process is killed (SIGKILL) at any batch, and resumed, ends with the same bits as one that was not."""

import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training.checkpoints import read_checkpoint

EVERYTHING = {
    "image_encoder": "light_cnn",
    "image_size": 16,
    "lr": 2e-3,
    "device": "cpu",
    "epochs": 4,
    "batch_size": 8,
    "patience": None,
    "accumulate_grad_batches": 2,
    "mixup": 0.4,
    "cutmix": 1.0,
    "ema_decay": 0.9,
    "schedule": "plateau",
    "plateau_patience": 0,
    "gradient_clip_val": 1.0,
    "label_smoothing": 0.1,
    "sampler": "balanced",
    "checkpoint_minutes": 0.0005,
}
BATCHES = 9
"""Of an epoch."""

PROCESS = """
import os, signal, sys
import medfusion as mf

job_id, event, epoch, batch, settings = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), eval(sys.argv[5])

class Kill:
    pass

def kill(self, state):
    if state.epoch == epoch and (event == "epoch_end" or state.batch == batch):
        os.kill(os.getpid(), signal.SIGKILL)

setattr(Kill, event, kill)
if job_id == "new":
    job = mf.train(mf.synthetic_cohort(n=120, seed=0, image_size=16), callbacks=[Kill()], **settings)
else:
    job = mf.resume(job_id, callbacks=[Kill()])
job.wait()
"""


def killed(job_id, event, epoch, batch):
    """The job, after a process that began or resumed it was killed there."""
    arguments = [job_id, event, str(epoch), str(batch), repr(EVERYTHING)]
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROCESS), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    # without the seconds in which a silent process may still be one that is busy
    (interrupted,) = open_store().jobs.mark_interrupted(older_than_seconds=0)
    return interrupted


def last(job_id):
    checkpoint = read_checkpoint(Path(open_store().checkpoints.list(job_id)[-1].checkpoint_path))
    assert checkpoint.description["epoch"] == EVERYTHING["epochs"]
    return checkpoint


def trained_with_kills(chosen, kills):
    """Places in the order of the run; a resume goes back behind the place of its kill, never behind that of the one before."""
    places = sorted(chosen.sample(range(1, BATCHES * EVERYTHING["epochs"] + 1), kills))
    job_id = "new"
    for place in places:
        epoch, batch = divmod(place - 1, BATCHES)
        event = "epoch_end" if batch == BATCHES - 1 and chosen.random() < 0.5 else "batch_end"
        job_id = killed(job_id, event, epoch + 1, batch + 1)
    return mf.resume(job_id).wait()


@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 2), *[pytest.param(seed, 5, marks=pytest.mark.heavy) for seed in range(1, 5)]]
)
def test_a_killed_and_resumed_run_ends_with_the_same_bits(medfusion_home, monkeypatch, tmp_path, seed, kills):
    job = trained_with_kills(random.Random(seed), kills)
    resumed, history = last(job.job_id), job.history.drop(columns="seconds")
    losses = job.metrics("train/loss")
    monkeypatch.setenv("MEDFUSION_HOME", str(tmp_path / "straight"))
    again = mf.train(mf.synthetic_cohort(n=120, seed=0, image_size=16), **EVERYTHING).wait()
    straight = last(again.job_id)
    assert resumed.tensors.keys() == straight.tensors.keys()
    for name, tensor in straight.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name
    for name in ("step", "lr_factor", "best_epoch", "best_value", "callbacks"):
        assert resumed.description[name] == straight.description[name], name
    assert history.equals(again.history.drop(columns="seconds"))
    assert losses.equals(again.metrics("train/loss"))
