"""The place between two steps, to which a run goes back where a step cannot be done."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch

from medfusion_jupyter.training.generators import generators_as_they_are

if TYPE_CHECKING:
    from medfusion_jupyter.training.state import LoopState


class BeforeStep:
    """What the batches of a step move before the optimiser's update, as it was when the step began.

    That is the place in the epoch, the buffers of the model (the statistics of batch norms) and all generators. Weights,
    their average and the optimiser's state change with the update and after it, so nothing is kept of them.
    """

    def __init__(self, state: LoopState) -> None:
        self._state = state
        buffers = sorted(state.model.buffers(), key=lambda buffer: str(buffer.dtype))
        # of one type together: they are copied at once
        self._buffers = [list(alike) for _, alike in groupby(buffers, key=lambda buffer: buffer.dtype)]
        self._kept = [[buffer.clone() for buffer in alike] for alike in self._buffers]

    @torch.no_grad()
    def keep(self) -> None:
        """A step begins."""
        state = self._state
        self._place = state.batch, state.samples
        self._put_generators_back, self._augmentation = generators_as_they_are(), state.generator.get_state()
        for kept, buffers in zip(self._kept, self._buffers, strict=True):
            torch._foreach_copy_(kept, buffers)

    @torch.no_grad()
    def put_back(self) -> None:
        """The step under way has not been begun."""
        state = self._state
        state.batch, state.samples = self._place
        self._put_generators_back()
        state.generator.set_state(self._augmentation)
        for kept, buffers in zip(self._kept, self._buffers, strict=True):
            torch._foreach_copy_(buffers, kept)
