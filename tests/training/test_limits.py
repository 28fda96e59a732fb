"""How long a run goes on, and what is validated how often."""

import numpy as np
import pytest

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback, ConfigError, TrainingConfig
from medfusion_jupyter.training.state import LoopState
from medfusion_jupyter.training.stopping import BestEpoch, EarlyStopping, MaxTime, Plateau


def ended_at(values, **settings):
    """The epoch at which early stopping ends a run with these values of the watched metric."""
    stopping = EarlyStopping("val/auroc", **{"patience": 2, "min_delta": 0.0, **settings})
    state = LoopState(model=None, optimizer=None, generator=None, epochs=100, steps_per_epoch=1)
    for epoch, value in enumerate(values, start=1):
        state.epoch, state.row = epoch, {} if value is None else {"val/auroc": value}
        stopping.epoch_end(state)
        if state.finish_early:
            return epoch
    return None


def test_patience_counts_from_the_last_epoch_that_was_better_by_the_minimum():
    slow = [0.50, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56]
    assert ended_at(slow) is None
    assert ended_at(slow, min_delta=0.015) is None  # 0.02 better every second epoch
    assert ended_at(slow, min_delta=0.035) == 3
    assert ended_at([0.5, 0.6, 0.6, 0.6]) == 4
    assert ended_at([0.5, 0.6, 0.6, 0.6], patience=None) is None


def test_a_metric_that_is_not_defined_or_was_not_taken_ends_nothing():
    nan = float("nan")
    assert ended_at([nan] * 9) is None
    assert ended_at([0.5, None, None, None, None]) is None
    assert ended_at([0.5, nan, nan]) == 3


@pytest.mark.parametrize("watch", ["val/auroc", "val/loss"])
def test_the_best_epoch_is_the_highest_or_for_a_loss_the_lowest(watch):
    best = BestEpoch(watch)
    state = LoopState(model=None, optimizer=None, generator=None, epochs=9, steps_per_epoch=1)
    for epoch, value in enumerate([float("nan"), 0.5, 0.7, 0.2, 0.6], start=1):
        state.epoch, state.row = epoch, {watch: value}
        best.epoch_end(state)
    assert (state.best_epoch, state.best_value) == ((3, 0.7) if watch == "val/auroc" else (4, 0.2))


def test_a_plateau_in_a_loss_is_one_too():
    plateau = Plateau("val/loss", factor=0.1, patience=1, threshold=0.0)
    state = LoopState(model=None, optimizer=None, generator=None, epochs=9, steps_per_epoch=1)
    factors = []
    for value in (0.5, 0.4, 0.4, 0.4, 0.3):
        state.row = {"val/loss": value}
        plateau.epoch_end(state)
        factors.append(state.lr_factor)
    assert factors == [1, 1, 1, 0.1, 0.1]


class Counting(Callback):
    def __init__(self):
        self.steps, self.rows = 0, []

    def step_end(self, state):
        self.steps += 1

    def epoch_end(self, state):
        self.rows.append(state.row)


def test_when_the_time_is_over_the_epoch_is_cut_short_validated_and_kept(train):
    counting = Counting()
    job = train(epochs=400, patience=None, max_time=1e-6, callbacks=[counting]).wait()
    assert job.status == "completed"
    assert counting.steps == 1
    assert len(job.history) == 1
    assert job.history["val/auroc"].notna().all()
    assert job.model.epoch == 1


def test_the_time_does_not_run_in_a_pause_and_goes_on_after_a_resume(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("medfusion_jupyter.training.stopping.time.monotonic", lambda: now[0])
    state = LoopState(model=None, optimizer=None, generator=None, epochs=9, steps_per_epoch=1)
    clock = MaxTime(60)
    clock.fit_start(state)
    now[0] += 20
    clock.paused(state)
    now[0] += 1000
    clock.resumed(state)
    now[0] += 20
    assert clock.elapsed == 40
    later = MaxTime(60)
    later.load_state_dict(clock.state_dict())
    now[0] += 500
    later.fit_start(state)
    now[0] += 19
    later.batch_end(state)
    assert not state.finish_early
    now[0] += 2
    later.batch_end(state)
    assert state.finish_early


@pytest.mark.parametrize(("given", "minutes"), [("01:30:00", 90), ("00:00:30", 0.5), (15, 15), (0.5, 0.5)])
def test_a_time_is_minutes_or_hours_minutes_and_seconds(given, minutes):
    assert TrainingConfig.of({"max_time": given}).max_time == minutes


def test_it_validates_every_other_epoch_and_after_the_last(train):
    counting = Counting()
    job = train(epochs=5, patience=None, check_val_every_n_epoch=2, callbacks=[counting]).wait()
    validated = [epoch for epoch, row in enumerate(counting.rows, start=1) if "val/auroc" in row]
    assert validated == [2, 4, 5]
    assert list(job.metrics("val/auroc").index) == [epoch * counting.steps // 5 for epoch in validated]
    assert list(job.history["val/auroc"].notna()) == [False, True, False, True, True]
    assert job.record.best_epoch in validated
    assert job.model.epoch == job.record.best_epoch


def test_a_job_that_is_stopped_before_it_was_validated_has_the_last_epoch_as_its_model(train, at_epoch):
    job = train(epochs=400, patience=None, check_val_every_n_epoch=400)
    at_epoch(job, 2)
    job.stop()
    job.wait()
    assert job.status == "stopped"
    assert job.model.epoch == max(one.epoch for one in open_store().checkpoints.list(job.job_id))
    assert "val/auroc" not in job.model.metrics
    assert job.model.predict(mf.synthetic_cohort(n=120, seed=0, image_size=16)).notna().all(axis=None)


@pytest.mark.parametrize(("limit", "rows"), [(1, 8), (2, 16), (0.5, 12), (100, 25), (None, 25)])
def test_validation_is_limited_to_a_stratified_sample_that_stays_the_same(loop_of, cohort, limit, rows):
    first, again = (loop_of(batch_size=2, limit_val_batches=limit).val for _ in range(2))
    whole = loop_of(batch_size=2).val
    assert len(first.rows) == rows
    assert (first.rows == again.rows).all()
    assert set(first.rows) <= set(whole.rows)
    share = cohort.target_codes[whole.rows].mean()
    assert abs(cohort.target_codes[first.rows].sum() - share * len(first.rows)) <= 1
    assert np.isin(np.unique(cohort.target_codes), cohort.target_codes[first.rows]).all()


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({"val_check_interval": 2}, [2, 4]),
        ({"val_check_interval": 0.5}, [2, 4]),
        ({"val_check_interval": 3}, [3]),
        ({"val_check_interval": 1, "accumulate_grad_batches": 2}, [1, 2]),
    ],
)
def test_it_validates_within_epochs_too_and_changes_no_bit(loop_of, settings, at):
    class Within(Callback):
        def __init__(self):
            self.steps = []

        def validated(self, state):
            assert np.isfinite(state.row["val/loss"])
            self.steps.append(state.step)

    within = Within()
    plain = loop_of(epochs=2, **{k: v for k, v in settings.items() if k != "val_check_interval"})
    plain.run()
    loop = loop_of(callbacks=[within], epochs=2, **settings)
    loop.run()
    assert within.steps == [*at, *(loop.state.steps_per_epoch + step for step in at)]
    ours, theirs = loop.state.model.state_dict(), plain.state.model.state_dict()
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_an_interval_that_no_epoch_is_long_enough_for_is_refused(loop_of):
    with pytest.raises(ConfigError, match="val_check_interval=50 is more than the 5 steps of an epoch"):
        loop_of(val_check_interval=50)


def test_validations_within_an_epoch_are_points_of_the_curve_and_rows_are_of_epochs(train):
    job = train(epochs=2, val_check_interval=0.5).wait()
    steps = job.record.total_steps // 2
    assert list(job.metrics("val/auroc").index) == [2, 4, steps, steps + 2, steps + 4, 2 * steps]
    assert len(job.history) == 2
    assert job.record.best_epoch in (1, 2)
