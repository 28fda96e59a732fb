"""A run that is cut off anywhere and goes on from its snapshot ends with the same bits as one that was not."""

import random

import numpy as np
import pytest
import torch

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback, JobFailed
from medfusion_jupyter.training.checkpoints import CheckpointWriter, read_checkpoint, write_checkpoint
from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.forking import begin_from
from medfusion_jupyter.training.state import restore

SETTINGS = {
    "as they come": {},
    "averaged, accumulated, on a plateau": {
        "ema_decay": 0.9,
        "optimizer": "sgd",
        "nesterov": True,
        "schedule": "plateau",
        "plateau_patience": 0,
        "plateau_threshold": 10.0,
        "accumulate_grad_batches": 2,
        "min_delta": 0.01,
        "patience": 50,
    },
    "half precision": {"precision": "fp16", "gradient_clip_val": 0.5, "optimizer": "adam", "image_encoder": None},
    "mixed and balanced": {"mixup": 0.4, "cutmix": 1.0, "sampler": "balanced", "optimizer": "adafactor"},
    "unfrozen on the way": {
        "freeze": ["image_encoder", "head"],
        "unfreeze_epoch": {"image_encoder": 2},
        "schedule": "onecycle",
        "encoder_lr": 1e-4,
        "optimizer": "radam",
    },
    "laid out anew": {
        "channels_last": True,
        "gradient_checkpointing": True,
        "label_smoothing": 0.1,
        "class_weights": "balanced",
        "schedule": "step",
        "milestones": [1, 2],
        "check_val_every_n_epoch": 2,
        "max_time": 60,
    },
    "with Nesterov's moments": {"optimizer": "nadam", "image_encoder": None},
}


class Cut(Exception):
    pass


class Drawing(Callback):
    """A user's callback that has a state and draws from the generators that anyone uses."""

    def __init__(self):
        self.drawn = [0.0]
        self.mean = torch.zeros(2)

    def step_end(self, state):
        self.drawn.append(random.gauss(0, 1) + np.random.normal() + float(torch.rand(())))
        self.mean += state.step

    def state_dict(self):
        return {"drawn": self.drawn, "inner": {"mean": self.mean}}

    def load_state_dict(self, state):
        self.drawn, self.mean = state["drawn"], state["inner"]["mean"]


class CutAt(Callback):
    essential = True

    def __init__(self, step):
        self.step = step

    def step_end(self, state):
        if state.step == self.step:
            raise Cut


class Rows(Callback):
    """What is told of each epoch."""

    def __init__(self):
        self.rows = {}

    def epoch_end(self, state):
        self.rows[state.epoch] = {name: value for name, value in state.row.items() if name != "seconds"}


def everything(loop):
    tensors, description = loop.snapshot()
    description["callbacks"]["dict"].pop("MaxTime", None)
    return {name: tensor.clone() for name, tensor in tensors.items()}, description


def same(one, other):
    assert one[1] == other[1]
    assert one[0].keys() == other[0].keys()
    for name, tensor in one[0].items():
        assert torch.equal(tensor, other[0][name]), name


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(loop_of, settings, tmp_path):
    rows = Rows()
    straight = loop_of(callbacks=[Drawing(), rows], **settings)
    straight.run()
    expected = everything(straight)
    steps = straight.state.step
    assert steps == straight.state.total_steps
    # in the middle of an epoch, and at the last step of one before it was validated
    for at in (random.Random(str(settings)).randrange(1, steps), straight.state.steps_per_epoch):
        first = loop_of(callbacks=[Drawing(), CutAt(at)], **settings)
        with pytest.raises(Cut):
            first.run()
        writer = CheckpointWriter()
        tensors, description = first.snapshot()
        config = TrainingConfig.of(settings)
        description["config"] = config.model_dump(mode="json")
        writer.save(tmp_path / "cut.safetensors", tensors, description, then=lambda size: None)
        writer.wait()
        rows_after = Rows()
        second = loop_of(callbacks=[Drawing(), rows_after], **settings)
        torch.rand(7)
        random.random()
        np.random.rand(3)
        states = begin_from(
            read_checkpoint(tmp_path / "cut.safetensors"), second.state, config, "job_0001", completed=False
        )
        second.callbacks.load_state_dicts(states)
        assert (second.state.step, second.state.batch) == (at, first.state.batch)
        second.run()
        same(expected, everything(second))
        assert rows_after.rows.items() <= rows.rows.items()
        assert min(rows_after.rows) == first.state.finished_epochs + 1


@pytest.mark.parametrize("name", ["averaged, accumulated, on a plateau", "mixed and balanced"])
def test_a_stopped_job_goes_on_from_its_checkpoint_to_the_same_bits(train, at_epoch, name):
    settings = {"epochs": 6, "patience": None, **SETTINGS[name]}

    def last(job):
        checkpoint = read_checkpoint(open_store().checkpoints.list(job.job_id)[-1].checkpoint_path)
        assert checkpoint.description["epoch"] == 6
        return checkpoint

    straight = last(train(callbacks=[Drawing()], **settings).wait())
    job = train(callbacks=[Drawing()], **settings)
    at_epoch(job, 2)
    job.stop()
    job.wait()
    if job.status == "stopped":
        mf.resume(job.job_id, callbacks=[Drawing()]).wait()
    resumed = last(job)
    assert resumed.tensors.keys() == straight.tensors.keys()
    for key, tensor in straight.tensors.items():
        assert torch.equal(tensor, resumed.tensors[key]), key
    for key in ("callbacks", "lr_factor", "best_value", "scaler", "step"):
        assert resumed.description[key] == straight.description[key]


def test_a_checkpoint_of_the_first_format_is_still_read(loop_of, tmp_path):
    loop = loop_of(epochs=1)
    loop.run()
    tensors, description = loop.snapshot()
    old = {name: value for name, value in tensors.items() if name.split("/")[0] in ("model", "optimizer")}
    old |= {f"generator/{name}": tensors[f"generator/{name}"] for name in ("augment", "torch")}
    kept = {name: description[name] for name in ("epoch", "step", "best_epoch", "best_value")}
    write_checkpoint(tmp_path / "old.safetensors", old, {**kept, "format": 1})
    again = loop_of(epochs=2)
    assert restore(read_checkpoint(tmp_path / "old.safetensors"), again.state) == {}
    assert (again.state.finished_epochs, again.state.step) == (1, loop.state.step)
    again.run()
    assert again.state.finished_epochs == 2


def test_there_is_no_snapshot_between_the_batches_of_one_step(loop_of):
    class Now(Callback):
        essential = True

        def batch_end(self, state):
            loop.snapshot()

    loop = loop_of(callbacks=[Now()], accumulate_grad_batches=2, image_encoder=None)
    with pytest.raises(RuntimeError, match="between two steps"):
        loop.run()


class Ending(Callback):
    """Ends the run early after a step, at which it `saves` it or not.

    breaks: it fails before its end is known; where it has saved, before the end of the epoch is.
    """

    essential = True

    def __init__(self, *, step, breaks, saves=False):
        self.step, self.breaks, self.saves = step, breaks, saves
        self.steps = []

    def step_end(self, state):
        self.steps.append(state.step)
        if state.step == self.step:
            state.finish_early = True
            state.checkpoint_wanted = self.saves

    def _break(self, state):
        if self.breaks and state.step == self.step:
            raise Cut

    def epoch_end(self, state):
        if self.saves:
            self._break(state)

    def fit_end(self, state):
        self._break(state)


@pytest.mark.parametrize("saves", [False, True], ids=["after its last epoch", "within its last epoch"])
def test_a_run_broken_off_when_it_had_ended_early_trains_nothing_more(train, saves):
    settings = {"epochs": 5, "patience": None}
    straight = train(callbacks=[Ending(step=7, breaks=False, saves=saves)], **settings).wait()

    job = train(callbacks=[Ending(step=7, breaks=True, saves=saves)], **settings)
    with pytest.raises(JobFailed):
        job.wait()
    again = Ending(step=None, breaks=False)
    mf.resume(job.job_id, callbacks=[again]).wait()

    assert job.status == "completed"
    assert again.steps == []
    assert list(job.history["val/loss"]) == list(straight.history["val/loss"])
    last, expected = (
        read_checkpoint(open_store().checkpoints.list(one.job_id)[-1].checkpoint_path).section("model")
        for one in (job, straight)
    )
    assert all(torch.equal(last[name], expected[name]) for name in expected)


def test_a_run_that_ended_early_goes_on_where_it_is_asked_to(train):
    job = train(callbacks=[Ending(step=7, breaks=False)], epochs=3, patience=None).wait()
    done = len(job.history)
    assert done < 3

    mf.resume(job.job_id).wait()

    assert len(job.history) == 3


def test_one_that_was_broken_off_at_its_early_end_goes_on_for_other_epochs(train):
    job = train(callbacks=[Ending(step=7, breaks=True)], epochs=3, patience=None)
    with pytest.raises(JobFailed):
        job.wait()

    mf.resume(job.job_id, epochs=4).wait()

    assert len(job.history) == 4
