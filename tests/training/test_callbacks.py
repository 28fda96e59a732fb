"""The loop announces events; a user's callback hears them, and its mistakes are named without losing the run."""

import errno
import logging

import pytest
import torch

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback, ConfigError, JobFailed
from medfusion_jupyter.training.callbacks import EVENTS, Callbacks


class Everything:
    """No subclass: an object with the methods is enough."""

    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        if name not in EVENTS:
            raise AttributeError(name)
        return lambda state: self.heard.append((name, state.epoch, state.step))


def events_of(job_id, kind):
    return [event.data for event in open_store().events.list(entity="job", entity_id=job_id) if event.kind == kind]


def test_a_run_is_heard_from_its_start_to_its_end(train):
    ear = Everything()
    job = train(epochs=2, callbacks=[ear], accumulate_grad_batches=2, batch_size=10).wait()
    steps, names = job.record.total_steps, [name for name, *_ in ear.heard]
    batches = names.count("batch_end")
    assert names[0] == "fit_start"
    assert names[-1] == "fit_end"
    assert names.count("step_end") == steps
    assert (batches, steps) == (14, 8)
    assert [at for at in ear.heard if at[0] == "epoch_start"] == [("epoch_start", 1, 0), ("epoch_start", 2, 4)]
    assert [at for at in ear.heard if at[0] == "epoch_end"] == [("epoch_end", 1, 4), ("epoch_end", 2, 8)]
    # an epoch's losses are read before it ends
    assert names.index("losses") < names.index("epoch_end")


def test_a_callback_of_three_lines(train):
    class Low:
        def epoch_end(self, state):
            state.finish_early = state.row["val/loss"] < 100

    job = train(epochs=50, callbacks=[Low()]).wait()
    assert (job.status, job.record.current_epoch) == ("completed", 1)


def test_a_run_ends_after_the_batch_in_which_a_callback_says_so(train):
    class Enough(Callback):
        def batch_end(self, state):
            state.finish_early = state.step == 7

    job = train(epochs=50, callbacks=[Enough()]).wait()
    assert job.record.current_step == 7
    assert job.history["val/loss"].notna().all()
    assert job.model.epoch == job.record.best_epoch


class Broken:
    def __init__(self, event):
        self.calls = 0
        setattr(self, event, self._raise)

    def _raise(self, state):
        self.calls += 1
        raise ValueError("no such channel: <b>#ward-7</b>")


@pytest.mark.parametrize(
    "event", ["fit_start", "epoch_start", "batch_end", "step_end", "losses", "epoch_end", "fit_end"]
)
def test_a_callback_that_raises_is_named_and_the_run_goes_on(train, caplog, event):
    broken, ear = Broken(event), Everything()
    with caplog.at_level(logging.WARNING, logger="medfusion"):
        job = train(epochs=2, callbacks=[broken, ear]).wait()
    assert job.status == "completed"
    assert job.model.epoch in (1, 2)
    assert f"The callback Broken failed at {event}: ValueError: no such channel" in caplog.text
    found = events_of(job.job_id, "callback_failed")
    assert found[0] == {
        "callback": "Broken",
        "event": event,
        "error": "ValueError: no such channel: <b>#ward-7</b>",
        "given_up": False,
    }
    # those after it hear the event nevertheless
    assert event in [name for name, *_ in ear.heard]


def test_it_is_called_again_and_given_up_after_three_failures_in_a_row():
    class Unlucky:
        def __init__(self):
            self.calls = 0

        def epoch_end(self, state):
            self.calls += 1
            if self.calls not in (3,):
                raise OSError("offline")

    told, unlucky = [], Unlucky()
    callbacks = Callbacks([unlucky], on_failure=lambda *what: told.append(what[-1]))
    for _ in range(10):
        callbacks.notify("epoch_end", None)
    assert unlucky.calls == 6  # two failures, a success, three failures
    assert told == [False, False, False, False, True]


def test_what_cannot_be_kept_is_named_and_the_checkpoint_is_whole(train, caplog):
    class Holding(Callback):
        def state_dict(self):
            return {"open": {"file": object()}}

    with caplog.at_level(logging.WARNING, logger="medfusion"):
        job = train(epochs=1, callbacks=[Holding()]).wait()
    assert job.status == "completed"
    assert "Holding failed at state_dict: TypeError: the state['open']['file'] is a object" in caplog.text
    assert len(open_store().checkpoints.list(job.job_id)) == 1


def test_an_essential_callback_ends_the_run_as_failed(train):
    class Guard(Callback):
        essential = True

        def epoch_end(self, state):
            if state.epoch == 2:
                raise OSError(errno.ENOSPC, "No space left on device")

    job = train(epochs=5, callbacks=[Guard()])
    with pytest.raises(JobFailed, match="No space left on device"):
        job.wait()
    assert job.model.epoch == 1


def test_states_of_callbacks_are_kept_and_given_back_on_resume(train, at_epoch, caplog):
    class Tally(Callback):
        def __init__(self):
            self.epochs, self.sums = [], torch.zeros(1)

        def epoch_end(self, state):
            self.epochs.append(state.epoch)
            self.sums += state.epoch

        def state_dict(self):
            return {"epochs": self.epochs, "sums": self.sums}

        def load_state_dict(self, state):
            self.epochs, self.sums = state["epochs"], state["sums"]

    job = train(epochs=400, patience=None, callbacks=[Tally(), Tally()])
    at_epoch(job, 2)
    job.stop()
    job.wait()
    done = len(job.history)
    one, two = Tally(), Tally()
    resumed = mf.resume(job.job_id, callbacks=[one, two])
    at_epoch(resumed, done + 1)
    resumed.stop()
    resumed.wait()
    for tally in (one, two):
        assert tally.epochs == list(range(1, len(resumed.history) + 1))
        assert tally.sums.item() == sum(tally.epochs)
    with caplog.at_level(logging.WARNING, logger="medfusion"):
        last = mf.resume(job.job_id)
        at_epoch(last, len(resumed.history) + 1)
    assert "has a state of the callback Tally, which this run does not have" in caplog.text
    last.stop()
    last.wait()


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        (lambda: Everything(), "must be a list"),
        (lambda: [Callback], r"the class Callback; give an object: Callback\(\)"),
        (lambda: [type("Typo", (), {"epoch_ended": lambda self, state: None})()], "Did you mean 'epoch_end'"),
        (lambda: [object()], "object has none of the methods that are called: fit_start"),
    ],
)
def test_what_is_no_callback_is_refused_before_anything_is_stored(cohort, callbacks, words):
    with pytest.raises(ConfigError, match=words):
        mf.train(cohort, callbacks=callbacks(), image_encoder=None)
    assert len(mf.jobs()) == 0


def test_a_job_of_another_process_cannot_have_callbacks(cohort):
    with pytest.raises(ConfigError, match="callbacks are objects of this process"):
        mf.train(cohort, callbacks=[Everything()], detach=True, image_encoder=None)
    assert len(mf.jobs()) == 0
