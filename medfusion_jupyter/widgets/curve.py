"""A curve of bounded size, however long the run: the browser and the notebook file must not grow with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 300


class Curve:
    """Points added in order; each kept one is the mean of a stretch, and stretches double when there are too many."""

    def __init__(self, max_points: int = MAX_POINTS) -> None:
        self.max_points = max_points
        self.last_step: int | None = None
        self._stretch = 1
        self._steps: list[int] = []
        self._values: list[float] = []
        self._open: list[float] = []

    def extend(self, steps: Iterable[int], values: Sequence[float | None]) -> None:
        """Add points with steps above `last_step`; values that are no numbers are left out."""
        for step, value in zip(steps, values, strict=True):
            self.last_step = step
            if value is None:
                continue
            self._open.append(value)
            if len(self._open) == self._stretch:
                self._steps.append(step)
                self._values.append(sum(self._open) / self._stretch)
                self._open.clear()
                if len(self._steps) == self.max_points:
                    self._halve()

    def _halve(self) -> None:
        pairs = range(1, len(self._steps), 2)
        self._values = [(self._values[k - 1] + self._values[k]) / 2 for k in pairs]
        self._steps = [self._steps[k] for k in pairs]
        self._stretch *= 2

    def arrays(self, steps_per_unit: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """x in units of `steps_per_unit` steps, and y; float32, `max_points` at most, the last being the newest."""
        steps, values = list(self._steps), list(self._values)
        if self._open and self.last_step is not None:
            steps.append(self.last_step)
            values.append(sum(self._open) / len(self._open))
        x = np.asarray(steps, dtype=np.float64) / steps_per_unit
        return x.astype(np.float32), np.asarray(values, dtype=np.float32)
