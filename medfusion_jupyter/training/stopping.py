"""Callbacks that judge a run by its watched metric or its time: the best epoch, an early end, a lower rate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.settings.watched import best_of
from medfusion_jupyter.training.callbacks import Callback

if TYPE_CHECKING:
    from medfusion_jupyter.training.state import LoopState


def sign_of(watch: str) -> float:
    """1 where more of the watched metric is better, -1 where less is."""
    return 1.0 if best_of(watch) == "max" else -1.0


def beats(watch: str, value: float, best: float | None) -> bool:
    """Whether `value` is better than the best so far; one that is not defined (nan) never beats one that is."""
    return best is None or best != best or sign_of(watch) * value > sign_of(watch) * best


class BestEpoch(Callback):
    """Notes in the state which epoch has the best watched metric."""

    essential = True

    def __init__(self, watch: str) -> None:
        self.watch = watch

    def epoch_end(self, state: LoopState) -> None:
        value = state.row.get(self.watch)
        if value is not None and beats(self.watch, value, state.best_value):
            state.best_epoch, state.best_value = state.epoch, value


class EarlyStopping(Callback):
    """Ends the run when the watched metric has not become better by more than `min_delta` for `patience` epochs; None never."""

    essential = True

    def __init__(self, watch: str, patience: int | None, min_delta: float) -> None:
        self.watch = watch
        self.sign = sign_of(watch)
        self.patience = patience
        self.min_delta = min_delta
        self._epoch = 0
        self._value: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """The epoch and value from which patience counts."""
        return {"epoch": self._epoch, "value": self._value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._epoch, self._value = state["epoch"], state["value"]

    def changed(self, state: LoopState) -> None:
        self.patience = state.changes.get("patience", self.patience)
        self.min_delta = state.changes.get("min_delta", self.min_delta)

    def epoch_end(self, state: LoopState) -> None:
        value = state.row.get(self.watch)
        if value is None:
            return
        before = self._value
        if before is None or before != before or self.sign * (value - before) > self.min_delta:
            self._epoch, self._value = state.epoch, value
        if self.patience is not None and state.epoch - self._epoch >= self.patience:
            state.finish_early = True


class MaxTime(Callback):
    """Ends the run after so many seconds of training, those before a resume included and pauses left out."""

    essential = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._before = 0.0
        self._since = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training so far."""
        return self._before + time.monotonic() - self._since

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.elapsed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = state["seconds"]

    def fit_start(self, state: LoopState) -> None:
        self._since = time.monotonic()

    def paused(self, state: LoopState) -> None:
        self._before = self.elapsed

    def resumed(self, state: LoopState) -> None:
        self._since = time.monotonic()

    def batch_end(self, state: LoopState) -> None:
        if self.elapsed >= self.seconds:
            state.finish_early = True


class Plateau(Callback):
    """Lowers the rate by `factor` when the watched metric has not become better for more than `patience` validations.

    threshold: how much better it must be, as a share of the best value. As torch.optim.lr_scheduler.ReduceLROnPlateau does.
    """

    essential = True

    def __init__(self, watch: str, *, factor: float, patience: int, threshold: float) -> None:
        self.watch = watch
        self.sign = sign_of(watch)
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self._best: float | None = None
        self._bad = 0

    def state_dict(self) -> dict[str, Any]:
        """The value to beat, and the validations that did not."""
        return {"best": self._best, "bad": self._bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self._bad = state["best"], state["bad"]

    def epoch_end(self, state: LoopState) -> None:
        value = state.row.get(self.watch)
        if value is None:
            return
        best = self._best
        if best is None or best != best or self.sign * (value - best) > self.threshold * abs(best):
            self._best, self._bad = value, 0
            return
        self._bad += 1
        if self._bad > self.patience:
            state.lr_factor *= self.factor
            self._bad = 0
