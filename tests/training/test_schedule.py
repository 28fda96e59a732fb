"""The learning rate over a run, held against torch's own schedulers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.schedule import Schedule

OF_RUN = {"total_steps": 60, "steps_per_epoch": 10}


def rates(**settings):
    schedule = Schedule.of(TrainingConfig.of(settings))
    return [schedule.share(step, **OF_RUN) for step in range(60)]


def of_torch(make, steps=60):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@given(st.integers(1, 500), st.integers(0, 100))
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(total, warmup):
    warmup = min(warmup, total - 1)
    schedule = Schedule(kind="cosine", warmup_steps=warmup)
    shares = [schedule.share(step, total_steps=total, steps_per_epoch=1) for step in range(total + 1)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares[: warmup + 1] == sorted(shares[: warmup + 1])
    assert shares[warmup] == 1
    assert shares[warmup:] == sorted(shares[warmup:], reverse=True)
    assert shares[total] < 1e-12


def test_cosine_is_that_of_torch():
    expected = of_torch(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=60))
    assert rates(schedule="cosine", warmup=0) == pytest.approx(expected, abs=1e-9)


def test_step_is_that_of_torch():
    expected = of_torch(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [20, 50], gamma=0.3))
    assert rates(schedule="step", milestones=[2, 5], gamma=0.3, warmup=0) == pytest.approx(expected)


@pytest.mark.parametrize(("settings", "share"), [({}, 0.3), ({"warmup": 2}, 1 / 3), ({"warmup_steps": 6}, 0.1)])
def test_onecycle_is_that_of_torch(settings, share):
    def make(optimizer):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=1.0, total_steps=61, pct_start=share * 60 / 61, cycle_momentum=False
        )

    schedule = Schedule.of(TrainingConfig.of({"schedule": "onecycle", **settings}))
    ours = [schedule.share(step, total_steps=61, steps_per_epoch=10) for step in range(60)]
    if not settings:
        # 30 % of 61 steps, rounded
        expected = of_torch(
            lambda o: torch.optim.lr_scheduler.OneCycleLR(
                o, max_lr=1.0, total_steps=61, pct_start=18 / 61, cycle_momentum=False
            )
        )
    else:
        expected = of_torch(make)
    assert ours == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_constant_rate_rises_and_stays(schedule):
    assert rates(schedule=schedule, warmup_steps=4) == pytest.approx([0.2, 0.4, 0.6, 0.8] + [1] * 56)


def test_the_warm_up_is_an_epoch_where_nothing_is_said():
    assert rates(schedule="constant")[:11] == pytest.approx([(k + 1) / 11 for k in range(10)] + [1])
    assert rates(schedule="constant", warmup=0.5)[4:6] == pytest.approx([5 / 6, 1])
