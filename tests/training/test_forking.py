"""A fork begins where its parent was, with other settings; a finished run goes on for more epochs."""

import math
from pathlib import Path

import pytest
import torch
from patience import wait_for

import medfusion as mf
from medfusion_jupyter.store import IllegalTransition, open_store
from medfusion_jupyter.store.errors import BadValue, InUse
from medfusion_jupyter.training import ConfigError, JobFailed
from medfusion_jupyter.training.checkpoints import read_checkpoint
from medfusion_jupyter.training.headless import run_queued
from medfusion_jupyter.training.schedule import Schedule

EPOCHS, STEPS = 4, 5
"""Of the parent: its epochs, and the steps of each."""


@pytest.fixture
def parent(train):
    """A finished job of which every epoch can be forked."""
    return train(epochs=EPOCHS, patience=None, save_top_k=-1, ema_decay=0.9).wait()


def last(job):
    return read_checkpoint(open_store().checkpoints.list(job.job_id)[-1].checkpoint_path)


def same_weights(one, other):
    for name, tensor in last(one).section("model").items():
        assert torch.equal(tensor, last(other).section("model")[name]), name


def test_a_fork_with_the_settings_of_its_parent_ends_with_the_same_bits(parent):
    fork = parent.fork(epoch=2).wait()
    assert fork.status == "completed"
    assert last(fork).tensors.keys() == last(parent).tensors.keys()
    for key, tensor in last(parent).tensors.items():
        assert torch.equal(tensor, last(fork).tensors[key]), key
    assert list(fork.history.index) == [3, 4]
    assert list(fork.metrics("train/loss")) == list(parent.metrics("train/loss"))[2 * STEPS :]
    assert mf.load_job(parent.job_id).history.shape == parent.history.shape


def test_a_rate_of_their_own_for_the_encoders_gives_each_parameter_its_own_state_of_the_optimiser(parent):
    same_weights(parent.fork(epoch=2, encoder_lr=2e-3).wait(), parent)


CHANGES = {
    "rate, decay and augmentation": {"lr": 1e-4, "weight_decay": 0.1, "augment": False, "mixup": 0.3},
    "optimiser and larger batches": {"optimizer": "sgd", "momentum": 0.5, "batch_size": 32},
    "smaller batches and another schedule": {
        "batch_size": 8,
        "accumulate_grad_batches": 3,
        "schedule": "step",
        "milestones": [3],
        "gamma": 0.5,
    },
    "seed, larger images and half precision": {"seed": 7, "image_size": 24, "precision": "bf16"},
    "no average, frozen, watched otherwise, longer": {
        "ema_decay": None,
        "freeze": ["image_encoder"],
        "watch": "val/loss",
        "epochs": 6,
    },
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_what_keeps_the_shapes_of_the_weights_can_be_changed(parent, changes):
    fork = parent.fork(epoch=2, **changes).wait()
    record, config = fork.record, fork.record.training_config
    assert list(fork.history.index) == list(range(3, config["epochs"] + 1))
    assert {name: change["to"] for name, change in record.fork["changes"].items()} == {
        name: config[name] for name in changes
    }
    # the rate is where the schedule of the fork has it at this place of the run
    steps = record.total_steps // config["epochs"]
    schedule = Schedule(config["schedule"], milestones=tuple(config["milestones"] or ()), gamma=config["gamma"] or 0.1)
    expected = [
        config["lr"] * schedule.share(step, total_steps=record.total_steps, steps_per_epoch=steps)
        for step in range(2 * steps, record.total_steps)
    ]
    rates = fork.metrics("lr")
    assert list(rates.index) == list(range(2 * steps + 1, record.total_steps + 1))
    assert list(rates) == pytest.approx(expected)
    assert fork.model.epoch == record.best_epoch >= 2


def test_a_fork_may_begin_within_an_epoch(train, stopped_at):
    straight = train(epochs=2, patience=None, mixup=0.3).wait()
    parent = stopped_at(7, epochs=2, patience=None, mixup=0.3)
    fork = parent.fork(step=7).wait()
    same_weights(fork, straight)
    for changes in ({"batch_size": 8}, {"seed": 3}, {"accumulate_grad_batches": 2}):
        (name,) = changes
        with pytest.raises(ConfigError, match=rf"{name}=.*this checkpoint was made within one.*after an epoch"):
            parent.fork(step=7, **changes)
    assert parent.fork(epoch=1, batch_size=32).wait().status == "completed"


def test_where_a_fork_comes_from_is_kept(parent):
    fork = parent.fork(epoch=3, lr=1e-4, optimizer="sgd", name="slower", description="why").wait()
    record = open_store().jobs.get(fork.job_id)
    assert record.parent_job_id == parent.job_id
    assert record.fork == {
        "epoch": 3,
        "step": 3 * STEPS,
        "changes": {"lr": {"from": 2e-3, "to": 1e-4}, "optimizer": {"from": "adamw", "to": "sgd"}},
    }
    assert (record.name, record.description) == ("slower", "why")
    (event,) = [e for e in open_store().events.list(entity_id=fork.job_id) if e.kind == "forked"]
    assert event.data == {"from": parent.job_id, **record.fork}
    assert [job.job_id for job in open_store().jobs.list(parent_job_id=parent.job_id).items] == [fork.job_id]
    assert f"forked from {parent.job_id} at epoch 3" in repr(fork)
    with pytest.raises(InUse, match=fork.job_id):
        open_store().jobs.delete(parent.job_id)


def test_a_fork_is_sound_without_the_files_of_its_parent(parent):
    for path in Path(open_store().checkpoints.list(parent.job_id)[0].checkpoint_path).parent.iterdir():
        if not path.name.startswith("epoch-0001") and path.name != "split.json":
            path.unlink()
    with pytest.raises(BadValue, match=r"epoch-0002.safetensors .*not there: fork from another"):
        open_store().jobs.fork(
            parent.job_id,
            open_store().checkpoints.choose(parent.job_id, epoch=2),
            training_config=parent.record.training_config,
            changes={},
        )
    assert open_store().jobs.list().items[0].job_id == parent.job_id
    queued = parent.fork(epoch=1, detach=True)
    for path in (Path(queued.record.checkpoint_path).parents[1] / parent.job_id).iterdir():
        path.unlink()
    open_store().queue.launch_next(1, 0)
    run_queued(queued.job_id)
    assert queued.status == "completed"
    assert list(queued.history.index) == [2, 3, 4]


def test_a_job_at_work_can_be_forked_and_a_fork_forked(train, at_epoch):
    job = train(epochs=400, patience=None, image_encoder=None)
    at_epoch(job, 2)
    job.pause()
    wait_for(lambda: open_store().checkpoints.list(job.job_id), "no checkpoint was written")
    fork = job.fork(epochs=500, detach=True)
    begun = fork.record.fork["epoch"]
    job.stop()
    assert begun >= 1
    again = fork.fork(epochs=begun + 2, optimizer="sgd").wait()
    assert list(again.history.index) == [begun + 1, begun + 2]
    assert again.record.fork["changes"]["epochs"] == {"from": 500, "to": begun + 2}


REFUSED = {
    "fusion": ({"fusion": "concat"}, "fusion='concat' cannot be changed in a fork: the checkpoint's weights are of it"),
    "encoder": ({"image_encoder": None}, "image_encoder=None cannot be changed"),
    "split": ({"val": 0.4}, "val=0.4 cannot be changed in a fork: a fork has the split of its parent"),
    "epochs": ({"epochs": 2, "epoch": 3}, "epochs=2, and the checkpoint has 3 finished epochs: nothing is left"),
    "nothing left": ({}, "epochs=4, and the checkpoint has 4 finished epochs"),
    "unknown": ({"epoch": 2, "learning_rate": 1.0}, "no setting 'learning_rate'"),
    "out of range": ({"epoch": 2, "lr": -1.0}, "lr=-1.0"),
}


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_stored(parent, changes, said):
    with pytest.raises(ConfigError, match=said):
        parent.fork(**changes)
    assert len(open_store().jobs.list().items) == 1


def test_a_checkpoint_that_is_not_there_is_refused_with_those_there_are(parent, train):
    with pytest.raises(BadValue, match=r"no checkpoint epoch=9.*It has: epoch=1 step=5; epoch=2 step=10"):
        parent.fork(epoch=9)
    with pytest.raises(BadValue, match=r"no checkpoint epoch=1 step=10"):
        parent.fork(epoch=1, step=10)


# --- more epochs for a finished run --------------------------------------------------------------------------------------


def test_a_finished_run_goes_on_for_more_epochs_on_the_schedule_of_all_of_them(train):
    job = train(epochs=2, patience=None).wait()
    mf.resume(job.job_id, epochs=4).wait()
    assert list(job.history.index) == [1, 2, 3, 4]
    assert (job.record.total_epochs, job.record.training_config["epochs"]) == (4, 4)
    rates = job.metrics("lr")
    shares = [Schedule().share(step, total_steps=20, steps_per_epoch=5) for step in range(10, 20)]
    assert list(rates[10:]) == pytest.approx([2e-3 * share for share in shares])
    assert {"epochs": 4, "step": 10} in [event.data for event in open_store().events.list(entity_id=job.job_id)]


def test_a_run_at_a_constant_rate_that_was_extended_ends_as_if_it_had_been_so_long_from_the_start(train):
    straight = train(epochs=4, patience=None, schedule="constant").wait()
    job = train(epochs=2, patience=None, schedule="constant").wait()
    same_weights(mf.resume(job.job_id, epochs=4).wait(), straight)


def test_how_a_finished_run_goes_on_is_said_where_it_is_asked_for(train):
    job = train(epochs=2).wait()
    with pytest.raises(IllegalTransition, match=rf"mf.resume\('{job.job_id}', epochs=5\) goes on with it"):
        job.set(epochs=5)
    with pytest.raises(IllegalTransition, match=r"fork\(lr=0.1\) begins a new one"):
        job.set(lr=0.1)
    with pytest.raises(JobFailed, match=rf"finished all its 2 epochs: mf.resume\('{job.job_id}', epochs=4\)"):
        mf.resume(job.job_id)
    with pytest.raises(ConfigError, match=r"epochs=2, and job_0001 has finished 2"):
        mf.resume(job.job_id, epochs=2)
    assert math.isfinite(job.record.duration)
