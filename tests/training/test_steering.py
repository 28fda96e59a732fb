"""A run that goes on is paused, changed and saved."""

import pytest
import torch

from medfusion_jupyter.settings.keywords import read_keywords
from medfusion_jupyter.settings.live import LIVE, live_changes
from medfusion_jupyter.store import home, open_store
from medfusion_jupyter.training import Callback, ConfigError, TrainingConfig
from medfusion_jupyter.training.parking import Parked, Parking, storages_of
from medfusion_jupyter.training.starting import RUNS

TABLE = {"image_encoder": None, "patience": None}


def events(job, kind):
    found = open_store().events.list(entity="job", entity_id=job.job_id, limit=500)
    return [event for event in found if event.kind == kind]


class At(Callback):
    """Does something after one step."""

    essential = True

    def __init__(self, step, act):
        self.step, self.act = step, act

    def step_end(self, state):
        if state.step == self.step:
            self.act(state)


def weights(state):
    return {
        **state.model.state_dict(),
        **{f"ema.{k}": v for k, v in (state.ema.state_dict() if state.ema else {}).items()},
    }


SETTINGS = [
    {},
    {"ema_decay": 0.9, "optimizer": "sgd", "accumulate_grad_batches": 2},
    {"channels_last": True, "freeze": ["head"], "unfreeze_epoch": 2, "optimizer": "adafactor"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["as they come", "averaged", "laid out anew"])
def test_what_was_parked_on_the_way_comes_back_with_the_same_bits(loop_of, settings):
    def park(state):
        storages = storages_of(state)
        before = {key: value.clone() for key, value in weights(state).items()}
        parked = Parked(storages)
        assert all(storage.nbytes() == 0 for storage in storages)
        parked.bring_back()
        assert all(torch.equal(value, before[key]) for key, value in weights(state).items())

    straight = loop_of(**settings)
    straight.run()
    interrupted = loop_of(callbacks=[At(5, park)], **settings)
    interrupted.run()
    ours, theirs = weights(interrupted.state), weights(straight.state)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_moments_of_the_optimiser_and_the_average_are_parked_too(loop_of):
    seen = []
    loop_of(callbacks=[At(3, lambda state: seen.append((state, storages_of(state))))], epochs=1, ema_decay=0.9).run()
    state, storages = seen[0]
    size = sum(p.nbytes for p in state.model.parameters())
    assert sum(storage.nbytes() for storage in storages) >= 4 * size  # the weights, their average and two moments
    assert len({storage.data_ptr() for storage in storages}) == len(storages)


class PauseAt(At):
    """Pauses after a step, looks, and goes on."""

    def __init__(self, step, control, look):
        super().__init__(step, lambda state: control().deliver("pause"))
        self.control, self.look = control, look

    def paused(self, state):
        self.look(state)
        self.control().deliver("resume")


def bytes_of(state):
    return sum(storage.nbytes() for storage in storages_of(state))


def test_a_pause_on_a_cpu_moves_nothing_and_changes_no_bit(loop_of):
    straight = loop_of()
    straight.run()
    seen = []
    loop = loop_of(callbacks=[PauseAt(4, lambda: loop.control, lambda state: seen.append(bytes_of(state)))])
    loop.run()
    assert seen == [bytes_of(loop.state)]
    assert all(torch.equal(value, weights(straight.state)[key]) for key, value in weights(loop.state).items())


@pytest.mark.parametrize("word", ["stop", "resume"])
def test_a_device_without_room_any_longer_fails_what_goes_on_and_not_what_stops(loop_of, monkeypatch, word):
    def full(parking):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Parking, "come_back", full)
    saved = []

    class Watch(PauseAt):
        def checkpoint_wanted(self, state):
            saved.append(state.step)

        def paused(self, state):
            self.control().deliver(word)

    loop = loop_of(callbacks=[Watch(4, lambda: loop.control, None)])
    if word == "stop":
        loop.run()
        assert loop.state.stopped
    else:
        with pytest.raises(torch.OutOfMemoryError):
            loop.run()
    assert saved == [4]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: nothing to give back")
def test_a_pause_gives_the_gpu_back_and_a_resume_the_same_bits(train):
    settings = {"device": "cuda", "deterministic": True, "precision": "fp32", "epochs": 3, "ema_decay": 0.9}
    straight, seen = train(**settings).wait(), []
    ear = PauseAt(8, lambda: RUNS[job.job_id].control, lambda state: seen.append(torch.cuda.memory_allocated()))
    at_work = At(7, lambda state: seen.append(torch.cuda.memory_allocated()))
    job = train(**settings, callbacks=[ear, at_work])
    job.wait()
    assert seen[1] < seen[0] / 2
    ours, theirs = job.model.module.state_dict(), straight.model.module.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_live_changes_hold_from_the_next_step_and_each_is_an_event(train, at_epoch):
    job = train(epochs=400, encoder_lr=1e-3, schedule="constant", warmup=0, patience=None, freeze=["head"])
    at_epoch(job, 1)
    job.set(lr=1e-4, encoder_lr=1e-5, patience=1, min_delta=5.0, unfreeze="all")
    job.wait()
    assert job.status == "completed"
    assert len(job.history) < 400
    assert job.metrics("lr").iloc[-1] == 1e-4
    kept = {"lr": 1e-4, "encoder_lr": 1e-5, "patience": 1, "min_delta": 5.0, "unfreeze": ["head"]}
    (changed,) = events(job, "changed")
    since = changed.data.pop("step")
    assert changed.data == kept
    rates = job.metrics("lr")
    assert set(rates[rates.index > since]) == {1e-4}
    assert set(rates[rates.index <= since]) == {2e-3}
    asked = events(job, "command")[0]
    assert asked.data == {"command": "set", "arguments": kept}
    assert asked.actor
    assert asked.at
    assert {name: job.record.training_config[name] for name in kept} == kept


def test_a_part_is_thawed_at_the_next_step_and_stays_so(loop_of):
    heads = []

    class Heads(Callback):
        def step_end(self, state):
            heads.append(next(state.model.head.parameters()).detach().clone())

    at = At(3, lambda state: loop.control.deliver("set", {"unfreeze": ["head"]}))
    loop = loop_of(callbacks=[at, Heads()], freeze=["head", "fusion"], epochs=2)
    loop.run()
    assert all(torch.equal(one, heads[0]) for one in heads[:3])
    assert not any(torch.equal(one, heads[0]) for one in heads[3:])
    assert not any(p.requires_grad for p in loop.state.model.fusion.parameters())


def test_a_thawed_image_encoder_learns_where_its_features_were_computed_once(train, at_epoch):
    encoders = []

    class Encoders(Callback):
        def step_end(self, state):
            encoders.append(next(state.model.image_encoder.parameters()).detach().clone())

    job = train(epochs=400, freeze=["image_encoder"], augment=False, patience=None, callbacks=[Encoders()])
    at_epoch(job, 1)
    assert len(list((home() / "cache" / "features").glob("*.npy"))) == 1
    job.set(unfreeze="all", epochs=job.record.current_epoch + 3)
    job.wait()
    assert torch.equal(encoders[0], encoders[1])
    assert not torch.equal(encoders[0], encoders[-1])
    assert not torch.equal(encoders[-2], encoders[-1])


def test_a_part_within_a_frozen_one_learns_where_unfreeze_names_it(loop_of):
    loop = loop_of(freeze=["image_encoder"], unfreeze=["image_encoder.body.0"], epochs=1)
    before = {name: p.detach().clone() for name, p in loop.state.model.image_encoder.named_parameters()}
    loop.run()
    learnt = {n for n, p in loop.state.model.image_encoder.named_parameters() if not torch.equal(p, before[n])}
    assert learnt
    assert all(name.startswith("body.0.") for name in learnt)
    assert learnt < set(before)


def test_a_part_that_the_model_has_not_is_refused_in_an_event_and_the_run_goes_on(train, at_epoch):
    job = train(epochs=400, freeze=["image_encoder"], patience=None)
    at_epoch(job, 1)
    with pytest.raises(
        ConfigError, match=r"unfreeze names 'image_encoder.bodi', .* Did you mean 'image_encoder.body'\?"
    ):
        job.set(unfreeze=["image_encoder.bodi"])
    # as a server asks, which has no torch to know it by
    changes = {"unfreeze": ["image_encoder.bodi"], "epochs": job.record.current_epoch + 2}
    open_store().jobs.request(job.job_id, "set", changes)
    job.wait()
    assert job.status == "completed"
    (refused,) = events(job, "change_refused")
    assert "unfreeze names 'image_encoder.bodi'" in refused.data["error"]
    assert list(events(job, "changed")[0].data) == ["epochs", "step"]
    assert job.record.training_config["unfreeze"] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Nothing to change is given"),
        ({"batch_size": 8}, f"batch_size cannot be changed in a run; {', '.join(LIVE)} can"),
        ({"epoch": 8}, "Did you mean 'epochs'?"),
        ({"lr": -1}, "lr=-1: give a number above 0 and at most 10."),
        ({"lr": 1e-4, "patience": 0}, "patience=0"),
        ({"patience": None, "min_delta": 0.1}, "min_delta is of early stopping, and patience is None"),
        ({"unfreeze": ["head"]}, "unfreeze names 'head', which is not in what freeze names: nothing"),
        ({"unfreeze": "all"}, "nothing is frozen"),
        ({"encoder_lr": 1e-3}, "not begun or ended, in a run"),
    ],
)
def test_what_cannot_be_changed_is_refused_by_name(changes, said):
    current = TrainingConfig.of({}).model_dump(mode="json")
    with pytest.raises(ConfigError) as refused:
        live_changes(current, changes)
    assert said in str(refused.value)


def test_changes_are_read_from_words():
    words = ["lr=1e-4", "epochs=40", "patience=none", "unfreeze=image_encoder.stem,head"]
    assert read_keywords(words) == {
        "lr": 1e-4,
        "epochs": 40,
        "patience": None,
        "unfreeze": ["image_encoder.stem", "head"],
    }
    assert read_keywords(["unfreeze=all"]) == {"unfreeze": "all"}
    words = [
        "freeze=head",
        "milestones=2,4",
        'augment={"flip": 0.5}',
        "nesterov=true",
        "optimizer=sgd",
        "max_time=01:30:00",
    ]
    assert read_keywords(words) == {
        "freeze": ["head"],
        "milestones": [2, 4],
        "augment": {"flip": 0.5},
        "nesterov": True,
        "optimizer": "sgd",
        "max_time": "01:30:00",
    }
    for bad in ("lr", "lr=", "=3"):
        with pytest.raises(ConfigError, match="is no change: write a setting and its value"):
            read_keywords([bad])
