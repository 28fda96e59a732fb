"""What a run has freed on the host goes back to the system, and does not lie in holes between what it still holds."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.training.callbacks import Callback

if TYPE_CHECKING:
    from medfusion_jupyter.training.state import LoopState


class FreedMemory(Callback):
    """Gives back what is free before the first step, and after the 1st, 2nd, 4th, 8th … of this run.

    The first steps lay moments and gradients beside what preparing and building have left, in holes that then fit nothing: to
    begin without these saves some tens of MB at the peak of a ResNet-18. It takes milliseconds, so ever more rarely.
    """

    essential = True

    def __init__(self) -> None:
        self._steps = 0

    def fit_start(self, state: LoopState) -> None:
        self._steps = 0
        give_back_freed()

    def step_end(self, state: LoopState) -> None:
        self._steps += 1
        if not self._steps & (self._steps - 1):
            give_back_freed()


def give_back_freed() -> None:
    """Let the system have the pages that the C library keeps for later. Does nothing where it is not glibc."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Any:
    # musl has no such function
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
