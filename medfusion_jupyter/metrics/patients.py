"""Intervals where patients repeat: rows of one patient are not independent, so patients are resampled, not rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.metrics.discrimination import Interval

Statistic = Callable[[NDArray[np.integer], NDArray[np.floating]], Interval]


def bootstrap_by_patient(
    statistic: Statistic,
    target: NDArray[np.integer],
    probability: NDArray[np.floating],
    patient: NDArray[np.integer],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The statistic of all rows, with the 2.5 and 97.5 percentile over resamples of whole patients.

    target: `(N,)`; probability: `(N, K)`; patient: `(N,)` integer codes. Resamples in which the statistic is not
    defined (a class is absent) are left out. Davison and Hinkley, "Bootstrap methods and their application", 1997, ch. 3.8.
    """
    value = statistic(target, probability).value
    order = np.argsort(patient, kind="stable")
    _, starts = np.unique(patient[order], return_index=True)
    rows_of = np.split(order, starts[1:])
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        rows = np.concatenate([rows_of[k] for k in generator.integers(0, len(rows_of), len(rows_of))])
        drawn.append(statistic(target[rows], probability[rows]).value)
    defined = np.asarray([one for one in drawn if not np.isnan(one)])
    if len(defined) == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(value, float(low), float(high))
