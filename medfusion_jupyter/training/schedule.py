"""The learning rate over the steps of a run: a pure function of the step, so that a resume has nothing to restore."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from medfusion_jupyter.settings.schedule import ScheduleSettings

ONECYCLE_START = 1 / 25
ONECYCLE_END = ONECYCLE_START / 1e4
ONECYCLE_RISE = 0.3


@dataclass(frozen=True)
class Schedule:
    """The share of the peak rate at each step.

    kind: constant, step, cosine, onecycle or plateau (which is constant here: the callback Plateau lowers the rate).
    warmup: epochs, and warmup_steps: steps of the rise; the one that is not None holds. milestones: finished epochs.
    """

    kind: str = "cosine"
    warmup: float | None = None
    warmup_steps: int | None = None
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1

    @classmethod
    def of(cls, settings: ScheduleSettings) -> Self:
        """From the settings of a run."""
        gamma = 0.1 if settings.gamma is None else settings.gamma
        return cls(settings.schedule, settings.warmup, settings.warmup_steps, settings.milestones or (), gamma)

    def rising_steps(self, *, total_steps: int, steps_per_epoch: int) -> int:
        """Steps of the warm-up."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        if self.warmup is not None:
            return round(self.warmup * steps_per_epoch)
        return round(ONECYCLE_RISE * total_steps) if self.kind == "onecycle" else steps_per_epoch

    def share(self, step: int, *, total_steps: int, steps_per_epoch: int) -> float:
        """The share of the peak rate at `step`, from 0."""
        rising = self.rising_steps(total_steps=total_steps, steps_per_epoch=steps_per_epoch)
        if self.kind == "onecycle":
            return onecycle(step, rising_steps=rising, total_steps=total_steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        if self.kind == "cosine":
            return cosine(step - rising, total_steps - rising)
        if self.kind == "step":
            epochs = step // steps_per_epoch
            return math.prod(self.gamma for milestone in self.milestones if milestone <= epochs)
        return 1.0


def cosine(step: int, steps: int) -> float:
    """Half a cosine from 1 to 0 over so many steps. Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))


def onecycle(step: int, *, rising_steps: int, total_steps: int) -> float:
    """From 1/25 up to 1 and down to 1/250000, each as half a cosine; momentum stays.

    Smith and Topin, "Super-convergence", 2018; the numbers are those of torch.optim.lr_scheduler.OneCycleLR.
    """
    top = rising_steps - 1
    if step < top:
        return 1 + (ONECYCLE_START - 1) * cosine(step, top)
    return ONECYCLE_END + (1 - ONECYCLE_END) * cosine(step - max(0, top), total_steps - 1 - max(0, top))
