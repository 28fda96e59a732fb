"""Intervals of smooth statistics from what each row moves them, summed within patients, whose rows are not independent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.metrics.discrimination import Z95, Interval

Scale = Literal["share", "correlation", "size", "explained"]

SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float], Callable[[float], float]]] = {
    "share": (lambda v: math.log(v / (1 - v)), lambda v: 1 / (v * (1 - v)), lambda x: 0.5 * (1 + math.tanh(x / 2))),
    "correlation": (math.atanh, lambda v: 1 / (1 - v * v), math.tanh),
    "size": (math.log, lambda v: 1 / v, math.exp),
    "explained": (lambda v: -math.log(1 - v), lambda v: 1 / (1 - v), lambda x: 1 - math.exp(-x)),
}
"""Of each kind of value the scale on which its interval is symmetric: to it, its derivative, and back."""


def linearised(
    value: float, influence: NDArray[np.float64], patient: NDArray[np.integer] | None, scale: Scale
) -> Interval:
    """The statistic with its 95 % interval by the infinitesimal jackknife over patients.

    influence: `(N,)`, by how much each row moves the value, all together 0; patient: `(N,)` integer codes, by default each row is
    a patient of its own; scale: what keeps the bounds where such values can be: a `share` within 0 and 1, a `correlation` within
    -1 and 1, a `size` above 0, what is `explained` below 1. The bounds are nan at the end of the scale, where nothing varies, and
    for fewer than two patients.

    Efron, "The jackknife, the bootstrap and other resampling plans", 1982, ch. 6; Lin and Wei, JASA 84 (1989), for sums within
    patients.
    """
    of_patient = influence if patient is None else np.bincount(np.unique(patient, return_inverse=True)[1], influence)
    count = len(of_patient)
    there, slope, back = SCALES[scale]
    try:
        if count < 2 or not math.isfinite(value):
            raise ValueError
        variance = count / (count - 1) * float((of_patient**2).sum())
        centre, half = there(value), Z95 * math.sqrt(variance) * slope(value)
    except (ValueError, ZeroDivisionError):
        return Interval(value, math.nan, math.nan)
    return Interval(value, min(back(centre - half), value), max(back(centre + half), value))
