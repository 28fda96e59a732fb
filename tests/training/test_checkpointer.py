"""When a run is saved, what is kept of it, from where it goes on, and what happens where it cannot be saved."""

import errno
import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from acting import At
from patience import wait_for

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback, JobFailed, checkpoints
from medfusion_jupyter.training.checkpoints import read_checkpoint, write_checkpoint
from medfusion_jupyter.training.starting import RUNS


def kept(job):
    return open_store().checkpoints.list(job.job_id)


def within_an_epoch(job):
    return [one for one in kept(job) if not one.finishes_epoch]


def events(job, kind):
    return [event.data for event in open_store().events.list(entity_id=job.job_id) if event.kind == kind]


ASK = {
    "this process": lambda job: job.checkpoint(),
    "another process": lambda job: subprocess.run(
        [sys.executable, "-c", f"import medfusion as mf; mf.load_job({job.job_id!r}).checkpoint()"], check=True
    ),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
def test_a_checkpoint_is_made_when_it_is_asked_for(train, ask):
    at_step, seen = threading.Event(), threading.Event()

    def wait_for_the_command(state):
        at_step.set()
        wait_for(lambda: RUNS[job.job_id].control.attention, "the command was not heard")

    # the end of an epoch would delete what the command made
    hold = [At(1, wait_for_the_command), At(2, lambda state: seen.wait(90))]
    job = train(epochs=2, callbacks=hold, batch_size=2, accumulate_grad_batches=2)
    assert at_step.wait(90)
    assert within_an_epoch(job) == []
    ask(job)
    wait_for(lambda: within_an_epoch(job), "nothing was saved")
    (saved,) = within_an_epoch(job)
    checkpoint = read_checkpoint(saved.checkpoint_path)
    assert (saved.epoch, saved.step, saved.metrics, saved.is_best) == (0, 1, {}, False)
    assert checkpoint.description["step"] == 1
    assert checkpoint.description["batch"] == 2
    assert "checkpoint" in [asked["command"] for asked in events(job, "command")]
    job.stop()
    seen.set()


def test_a_pause_makes_one_too_for_the_process_may_end_in_it(train):
    started = threading.Event()

    def pause(state):
        assert started.wait(60)
        job.pause()
        wait_for(lambda: RUNS[job.job_id].control.attention, "the pause was not heard")

    job = train(epochs=3, patience=None, callbacks=[At(7, pause)])
    started.set()
    wait_for(lambda: job.status == "paused", "it did not pause")
    wait_for(lambda: within_an_epoch(job), "nothing was saved")
    assert within_an_epoch(job)[0].step == job.record.current_step
    job.stop()


def test_checkpoints_within_an_epoch_come_by_the_clock_and_never_become_the_model(stopped_at):
    job = stopped_at(9, epochs=3, patience=None, checkpoint_minutes=1e-6)
    steps = job.record.total_steps // 3
    assert steps == 5
    assert [(one.epoch, one.step) for one in kept(job)] == [(1, 5), (1, 8), (1, 9)]
    assert [one.is_best for one in kept(job)] == [True, False, False]
    assert job.model.epoch == 1
    assert {Path(one.checkpoint_path) for one in kept(job)} == set(
        Path(kept(job)[0].checkpoint_path).parent.glob("epoch*")
    )


def test_a_job_that_was_stopped_within_an_epoch_goes_on_from_the_step_that_it_had_reached(stopped_at):
    job = stopped_at(7, epochs=3, patience=None)
    assert (kept(job)[-1].epoch, kept(job)[-1].step) == (1, 7)
    steps = []
    mf.resume(job.job_id, callbacks=[Steps(steps)]).wait()
    assert steps == list(range(8, 16))
    assert list(job.metrics("train/loss").index) == list(range(1, 16))
    assert list(job.history.index) == [1, 2, 3]


class Steps(Callback):
    def __init__(self, steps):
        self.steps = steps

    def step_end(self, state):
        self.steps.append(state.step)


@pytest.mark.parametrize("count", [1, 2, -1])
def test_the_best_and_the_last_are_kept(train, count):
    job = train(epochs=6, patience=None, save_top_k=count).wait()
    values = job.history["val/auroc"]
    best = values.sort_values(ascending=False, kind="stable").index[: count if count > 0 else 6]
    assert {one.epoch for one in kept(job)} == {*best, 6}
    assert [one.epoch for one in kept(job) if one.is_best] == [job.record.best_epoch]
    assert all(Path(one.checkpoint_path).exists() for one in kept(job))
    assert len(list(Path(kept(job)[0].checkpoint_path).parent.glob("epoch*"))) == len(kept(job))


class Held:
    """Holds the file of the first epoch until `come()`, and keeps what it was to hold."""

    def __init__(self, monkeypatch, come):
        self.come, self.expected = come, {}
        self._save = checkpoints.save_file
        monkeypatch.setattr(checkpoints, "save_file", self)

    def __call__(self, tensors, path, metadata):
        if json.loads(metadata["medfusion"])["epoch"] == 1:
            self.expected = {name: tensor.clone() for name, tensor in tensors.items()}
            wait_for(self.come, "the training did not go on")
        self._save(tensors, path, metadata=metadata)

    def check(self, job):
        (first,) = [one for one in kept(job) if one.epoch == 1]
        there = read_checkpoint(Path(first.checkpoint_path)).tensors
        assert self.expected.keys() == there.keys()
        for name, tensor in self.expected.items():
            assert torch.equal(there[name], tensor), name


def test_the_training_goes_on_beside_a_file_that_is_of_its_moment(train, monkeypatch):
    arrived, let_change = threading.Event(), checkpoints.CheckpointWriter.let_change

    def counted(writer):
        if not writer._given_back.is_set():
            arrived.set()
        let_change(writer)

    monkeypatch.setattr(checkpoints.CheckpointWriter, "let_change", counted)
    held = Held(monkeypatch, arrived.is_set)
    # the average too moves with a step, and the statistics of batch norms before it
    held.check(train(epochs=2, patience=None, save_top_k=-1, ema_decay=0.9).wait())


def test_a_callback_may_change_weights_while_a_file_is_written(train, monkeypatch):
    class Anew(Callback):
        changed = threading.Event()

        def epoch_start(self, state):
            if state.epoch == 2:
                with torch.no_grad():
                    for weight in state.model.parameters():
                        weight.zero_()
                self.changed.set()

    held = Held(monkeypatch, Anew.changed.is_set)
    held.check(train(epochs=2, patience=None, save_top_k=-1, callbacks=[Anew()]).wait())


# --- a file that is damaged, or of another model -------------------------------------------------------------------------


def test_a_checkpoint_that_is_cut_short_is_passed_over_for_the_one_before_it_and_this_is_said(stopped_at, caplog):
    job = stopped_at(12, epochs=4, patience=None)
    *_, before, last = kept(job)
    assert (before.epoch, before.step, last.step) == (2, 10, 12)
    with open(last.checkpoint_path, "r+b") as file:
        file.truncate(1000)
    steps = []
    mf.resume(job.job_id, callbacks=[Steps(steps)]).wait()
    assert steps == list(range(11, 21))
    assert "The one before it is used" in caplog.text
    (said,) = events(job, "checkpoint_damaged")
    assert (said["epoch"], said["step"]) == (2, 12)
    assert "cannot be read" in said["error"]
    assert not Path(last.checkpoint_path).exists()


def test_where_the_best_one_is_damaged_too_the_best_is_one_that_is_there(stopped_at):
    # at this rate nothing gets better: the first epoch stays the best
    job = stopped_at(22, epochs=6, patience=None, lr=1e-12, warmup=0, save_top_k=2)
    (first,) = [one for one in kept(job) if one.is_best]
    assert job.record.best_epoch == first.epoch < 4
    Path(first.checkpoint_path).unlink()
    open_store().checkpoints.remove(first.id)
    mf.resume(job.job_id).wait()
    assert job.record.best_epoch == job.model.epoch != first.epoch
    assert [one.epoch for one in kept(job) if one.is_best] == [job.model.epoch]


def test_where_every_checkpoint_is_damaged_the_run_begins_anew(train, stopped_at, caplog):
    straight = train(epochs=2, patience=None).wait()
    job = stopped_at(7, epochs=2, patience=None)
    for one in kept(job):
        Path(one.checkpoint_path).write_bytes(b"")
    mf.resume(job.job_id).wait()
    assert "There is none before it: the run begins anew" in caplog.text
    assert list(job.metrics("train/loss")) == list(straight.metrics("train/loss"))
    assert list(job.history.index) == [1, 2]


def test_a_checkpoint_of_another_model_is_refused_with_the_difference(stopped_at):
    job = stopped_at(7, epochs=2, patience=None)
    path = Path(kept(job)[-1].checkpoint_path)
    checkpoint = read_checkpoint(path)
    tensors = dict(checkpoint.tensors)
    name = next(name for name in tensors if name.startswith("model/head") and name.endswith("weight"))
    missing = next(name for name in tensors if name.startswith("model/table_encoder"))
    rows, columns = tensors[name].shape
    tensors[name] = torch.zeros(rows + 1, columns)
    tensors["model/a.b"] = tensors.pop(missing)
    write_checkpoint(path, tensors, checkpoint.description)
    with pytest.raises(JobFailed) as failed:
        mf.resume(job.job_id).wait()
    said = str(failed.value)
    assert f"is of another model: it has not {missing.removeprefix('model/')}; it has beside a.b" in said
    assert (
        f"of another shape are {name.removeprefix('model/')} ({rows + 1}×{columns} in it, {rows}×{columns} here)"
        in said
    )
    assert path.exists()


# --- a disk that is full -------------------------------------------------------------------------------------------------


class Disk:
    """Takes no checkpoint for which `full(description)` holds, and leaves half a file behind."""

    def __init__(self, monkeypatch, full):
        self.full = full
        self._save = checkpoints.save_file
        monkeypatch.setattr(checkpoints, "save_file", self)

    def __call__(self, tensors, path, metadata):
        if self.full(json.loads(metadata["medfusion"])):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        self._save(tensors, path, metadata=metadata)


def test_a_disk_that_is_full_for_a_while_does_not_end_the_run(train, monkeypatch, caplog):
    monkeypatch.setattr(checkpoints, "RETRY_SECONDS", 0.02)
    tried = []

    def full(description):
        if description["epoch"] == 3:
            tried.append(description)
        return description["epoch"] == 3 and len(tried) < 5

    Disk(monkeypatch, full)
    # the epoch after it waits until the disk has room again
    job = train(
        epochs=4, patience=None, save_top_k=-1, callbacks=[At(16, lambda state: wait_for(lambda: len(tried) == 5, ""))]
    )
    job.wait()
    assert [one.epoch for one in kept(job)] == [1, 2, 3, 4]
    (said,) = events(job, "checkpoint_failed")
    assert "No space left" in said["error"]
    assert "Free some space" in said["error"]
    assert "The training goes on, and it is tried again" in caplog.text
    assert not list(Path(kept(job)[0].checkpoint_path).parent.glob(".*"))


def test_an_epoch_that_was_never_saved_is_not_called_the_best(train, monkeypatch):
    settings = {"epochs": 6, "patience": None, "lr": 0.05}
    lost = train(**settings).wait().record.best_epoch
    assert lost < 6, "the test needs a best epoch before the last"
    Disk(monkeypatch, lambda description: description["epoch"] == lost)
    job = train(**settings).wait()
    assert job.status == "completed"
    best = job.record.best_epoch
    assert best != lost
    assert job.record.best_value == job.history.loc[best, "val/auroc"]
    assert job.model.epoch == best


def test_a_disk_that_is_full_at_the_end_fails_the_job_which_can_be_resumed(train, monkeypatch):
    with monkeypatch.context() as patch:
        Disk(patch, lambda description: description["epoch"] >= 3)
        job = train(epochs=4, patience=None)
        with pytest.raises(
            JobFailed, match=r"could not be written.*No space left.*Free some space or set MEDFUSION_HOME"
        ):
            job.wait()
    assert max(one.epoch for one in kept(job)) == 2
    assert not list(Path(kept(job)[0].checkpoint_path).parent.glob(".*"))
    assert mf.resume(job.job_id).wait().status == "completed"
    assert list(job.history.index) == [1, 2, 3, 4]


def test_a_stop_while_the_disk_is_full_is_a_stop(stopped_at, monkeypatch, caplog):
    Disk(monkeypatch, lambda description: description["batch"] == 2)
    job = stopped_at(7, epochs=3, patience=None)
    assert job.status == "stopped"
    assert "A resume goes on from the checkpoint before it" in caplog.text
    assert kept(job)[-1].step == 5
    assert mf.resume(job.job_id).wait().status == "completed"


# --- a database that is locked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [4, 5], ids=["within an epoch", "at its end"])
def test_a_database_that_is_locked_for_longer_than_its_patience_holds_the_run_up_but_does_not_end_it(
    train, monkeypatch, medfusion_home, caplog, step
):
    monkeypatch.setattr("medfusion_jupyter.store.database.BUSY_SECONDS", 0.1)

    def lock(state):
        other = sqlite3.connect(medfusion_home / "medfusion.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")

        def let_go():
            wait_for(lambda: "The training waits" in caplog.text, "nobody noticed")
            other.rollback()
            other.close()

        threading.Thread(target=let_go).start()

    job = train(epochs=2, patience=None, callbacks=[At(step, lock)]).wait()
    assert job.status == "completed"
    assert list(job.history.index) == [1, 2]
    assert list(job.metrics("train/loss").index) == list(range(1, 11))
    assert "takes what is written to it again" in caplog.text
