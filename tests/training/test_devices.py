"""A job that several processes train: on a machine without GPUs these are two of its CPU."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from patience import wait_for

import medfusion as mf
from medfusion_jupyter.nn import heads
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback, ConfigError, JobFailed
from medfusion_jupyter.training.parallel.launch import AGENT, FAILURES, RankFailed, RankKilled, raise_first

TWO = {"image_encoder": None, "device": "cpu", "devices": 2, "patience": None, "batch_size": 8}


def processes_of(job):
    """torchrun's agent, and then each rank, of a job."""
    found = {}
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            if job.job_id in line and process.environ().get("MEDFUSION_HOME") == os.environ["MEDFUSION_HOME"]:
                found[-1 if AGENT in line else int(process.environ()["RANK"])] = process
        except (psutil.Error, KeyError):
            continue
    return [found[number] for number in sorted(found)]


def test_two_processes_train_a_job_that_is_steered_and_when_one_is_killed_goes_on(cohort, train):
    job = train(**TWO, epochs=4000)
    wait_for(lambda: len(job.history) > 1 and job.record.device == "2 × cpu", "it did not begin")
    assert len(processes_of(job)) == 3
    job.pause()
    wait_for(lambda: job.status == "paused", "it did not pause")
    job.set(lr=1e-4)
    job.resume()
    wait_for(lambda: job.record.training_config["lr"] == 1e-4, "the change was not heard")
    job.checkpoint()
    wait_for(
        lambda: any("step" in one.checkpoint_path for one in open_store().checkpoints.list(job.job_id)), "not saved"
    )
    epoch = job.record.current_epoch
    wait_for(lambda: job.record.current_epoch > epoch, "it did not go on")

    processes = processes_of(job)
    os.kill(processes[2].pid, signal.SIGKILL)
    with pytest.raises(JobFailed, match=r"process 2 of 2 was killed \(SIGKILL\), and the others were ended"):
        job.wait(60)
    assert job.status == "interrupted"
    assert not [process for process in processes if process.is_running()]

    saved = open_store().checkpoints.list(job.job_id)[-1]
    mf.resume(job.job_id)
    wait_for(lambda: job.record.current_epoch > saved.epoch + 1, "it did not go on")
    assert list(job.history.index[: saved.epoch + 1]) == list(range(1, saved.epoch + 2))
    job.stop()
    assert job.wait(60).status == "stopped"
    assert not processes_of(job)
    assert list(job.metrics("train/loss").index[: saved.step]) == list(range(1, saved.step + 1))
    assert job.model.predict(cohort).shape[0] == len(cohort)


def test_what_a_prediction_of_survival_needs_is_learned_of_the_rows_of_all_processes(cohort):
    row = np.arange(len(cohort))
    frame = cohort.frame.assign(days=1.0 + row, event=row % 3 > 0)
    several = {"lesion": "lesion", "death": mf.Survival("days", "event")}
    split = mf.Cohort(frame, **{**cohort.roles(), "target": several}).split(seed=0)
    job = mf.train(split, **TWO, epochs=1).wait()
    assert (job.status, job.record.device) == ("completed", "2 × cpu")
    kept = job.model.module.head.parts["death"]
    alone = heads("cox")(in_features=1)
    risk = torch.tensor(job.model.predict(split.train)["death_risk"].to_numpy())
    target = torch.tensor(split.train.frame[["days", "event"]].to_numpy(float))
    alone.fit_outputs(risk[:, None], target)
    assert torch.equal(kept.baseline_times, alone.baseline_times)
    torch.testing.assert_close(kept.log_baseline, alone.log_baseline, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("failures", "kind", "said"),
    [
        ([(1, 1, "No memory.", 3.0, False), (0, 1, "gloo: closed", 2.0, True)], RankFailed, "^No memory.$"),
        ([(0, 1, "Lost.", 3.0, False), (1, 1, "No memory.", 2.5, False)], RankFailed, "^No memory.$"),
        (
            [(0, 1, "gloo: closed", 2.0, True), (1, -9, None, 9.0, False)],
            RankKilled,
            r"process 2 of 2 was killed \(SIGKILL",
        ),
        ([(0, -15, None, 2.0, False), (1, 1, "No memory.", 3.0, False)], RankFailed, "^No memory.$"),
        (
            [(0, 1, "gloo: closed", 2.0, True), (1, -15, None, 3.0, False)],
            RankKilled,
            r"process 2 of 2 was killed \(SIGTERM",
        ),
        (
            [(1, 3, None, 3.0, False), (0, -15, None, 2.0, False)],
            RankKilled,
            r"process 2 of 2 was ended \(exit code 3\)",
        ),
        ([], RankKilled, "the processes that shared the run were ended"),
    ],
)
def test_the_process_that_failed_first_has_the_word(tmp_path, failures, kind, said):
    names = ("rank", "exit_code", "said", "at", "lost")
    if failures:
        (tmp_path / FAILURES).write_text(json.dumps([dict(zip(names, one, strict=True)) for one in failures]))
    with pytest.raises(kind, match=said):
        raise_first(tmp_path / FAILURES, devices=2)


@pytest.mark.heavy  # the word is chosen in the test above; a NaN is found in test_run_faults
def test_what_goes_wrong_is_told_as_of_one_process(cohort, train, caplog):
    cohort.image_paths[0].write_bytes(b"no image")
    bursting = {"optimizer": "sgd", "lr": 10.0, "momentum": 0.999, "weight_decay": 10.0, "warmup": 0}
    job = train(**{**TWO, **bursting, "image_encoder": "light_cnn"})
    with pytest.raises(JobFailed, match="The loss is NaN at step"):
        job.wait()
    assert [one.message for one in caplog.records if "1 of 120 image files cannot be decoded" in one.message]


@pytest.mark.heavy  # that the loop goes on with another number of processes is in test_sharing
def test_a_fork_goes_on_with_another_number_of_devices(train):
    job = train(**TWO).wait()
    alone = job.fork(devices=1, epochs=4).wait()
    assert (alone.status, alone.record.device, list(alone.history.index)) == ("completed", "cpu", [3, 4])
    again = alone.fork(devices=2, epochs=5).wait()
    assert (again.status, again.record.device, list(again.history.index)) == ("completed", "2 × cpu", [5])


START = """
import medfusion as mf
cohort = mf.synthetic_cohort(n=120, seed=0, image_size=16)
job = mf.train(cohort, image_encoder=None, device="cpu", devices=2, patience=None, batch_size=8, epochs=4000)
print(job.job_id, flush=True)
job.wait()
"""


def test_a_killed_kernel_leaves_no_process_behind():
    kernel = subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE, text=True)
    job = mf.load_job(kernel.stdout.readline().strip().split()[-1])
    wait_for(lambda: len(job.history) > 0, "it did not begin")
    processes = processes_of(job)
    kernel.kill()
    kernel.wait()
    wait_for(lambda: not any(process.is_running() for process in processes), "a process was left behind")
    wait_for(lambda: job.status == "interrupted", "nobody noticed")
    assert len(processes) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"device": "cuda", "devices": torch.cuda.device_count() + 2},
            "this machine shows .* GPUs?. Lower devices",
        ),
        ({"device": f"cuda:{torch.cuda.device_count()}"}, "this machine shows .* GPUs. Use device='auto' or 'cpu'"),
        ({"device": "cpu", "devices": 2, "batch_size": 3}, "batch_size=3 is too small for devices=2"),
        ({"device": "cuda:1", "devices": 2}, "devices=2 takes the first GPUs, and device='cuda:1' names one"),
        ({"device": "cpu", "devices": 2, "sync_batchnorm": True}, "sync_batchnorm is of GPUs"),
        ({"sync_batchnorm": True}, "sync_batchnorm is of several GPUs"),
        ({"device": "cpu", "devices": 0}, "devices=0"),
        ({**TWO, "callbacks": [Callback()]}, "callbacks are objects of this process: with devices=2"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_is_stored(cohort, settings, said):
    with pytest.raises(ConfigError, match=said):
        mf.train(cohort, **settings)
    assert not open_store().jobs.list().items


def test_synchronised_batch_norms_have_the_weights_of_plain_ones(loop_of):
    settings = {"device": "cuda", "devices": 2}
    plain = loop_of(**settings).state.model
    synchronised = loop_of(**settings, sync_batchnorm=True).state.model
    norms = [one for one in synchronised.modules() if isinstance(one, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    ours, theirs = synchronised.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_synchronised_batch_norms_need_an_image_in_every_row(cohort, loop_of):
    table = cohort.frame.copy()
    table.loc[0:30, cohort.image] = None
    with pytest.warns(UserWarning, match="no image"):
        partly = mf.Cohort(table, **cohort.roles())
    with pytest.raises(
        ConfigError, match=r"sync_batchnorm needs the images of every row, and \d+ of the 71 training rows"
    ):
        loop_of(data=partly, device="cuda", devices=2, sync_batchnorm=True)


@pytest.mark.parametrize("find", [mf.find_lr, mf.find_batch_size])
def test_trials_are_of_one_device(cohort, find):
    settings = {name: value for name, value in TWO.items() if name != "batch_size"}
    with pytest.raises(ConfigError, match="devices=2: a trial is of one device"):
        find(cohort, **settings)
