"""The moving average of the weights."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medfusion_jupyter.nn import FusionModel
from medfusion_jupyter.training.callbacks import Callback

if TYPE_CHECKING:
    from medfusion_jupyter.training.state import LoopState


def average_of(model: FusionModel) -> FusionModel:
    """A copy of `model` for its average, in evaluation mode for good."""
    return deepcopy(model).eval().requires_grad_(False)


class WeightAverage(Callback):
    """Moves `state.ema` toward the weights after each step: `ema += (1 - d) (weights - ema)`.

    d is `decay`, at first less, (1 + step) / (10 + step), so that the random weights of the start are forgotten. Statistics of
    batch norms are averaged too, counters copied. Polyak and Juditsky, SIAM J. Control Optim. 1992;
    the course of d is TensorFlow's.
    """

    essential = True

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._pairs: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._counters: list[tuple[Tensor, Tensor]] = []

    def fit_start(self, state: LoopState) -> None:
        assert state.ema is not None
        ours, theirs = state.ema.state_dict(), state.model.state_dict()
        moving = [name for name, value in ours.items() if value.is_floating_point()]
        self._pairs = [ours[name] for name in moving], [theirs[name] for name in moving]
        self._counters = [(ours[name], theirs[name]) for name in ours.keys() - set(moving)]

    @torch.no_grad()
    def step_end(self, state: LoopState) -> None:
        decay = min(self.decay, (1 + state.step) / (10 + state.step))
        torch._foreach_lerp_(*self._pairs, 1 - decay)
        for ours, theirs in self._counters:
            ours.copy_(theirs)
