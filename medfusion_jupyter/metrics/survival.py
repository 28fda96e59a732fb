"""How well a risk tells who has the event sooner, and survival curves when: Harrell's and Uno's C, integrated Brier score.

Each has a 95 % interval by patient. Times are `(N,)`, 0 or more; events `(N,)`, 1 where the event was then, 0 where the row was
last seen without it; a higher risk is to mean a shorter time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.metrics.discrimination import UNDEFINED, Interval
from medfusion_jupyter.metrics.linearised import linearised

Floats = NDArray[np.floating]
Patients = NDArray[np.integer] | None

AT_ONCE = 4_000_000
"""Pairs that are looked at together."""


def c_index(time: Floats, event: Floats, risk: Floats, patient: Patients = None) -> Interval:
    """Harrell's C: of the pairs of which it is known who had the event first, the share in which that one has the higher risk.

    A tie of risks counts half. nan where there is no such pair, or a risk is. Harrell et al., JAMA 247 (1982); the interval is
    that of a ratio of U-statistics, Pencina and D'Agostino, Statistics in Medicine 23 (2004).
    """
    return _concordance(time, event, risk, np.ones(len(time)), patient)


def uno_c(time: Floats, event: Floats, risk: Floats, patient: Patients = None) -> Interval:
    """Uno's C: as `c_index`, each pair weighed so that the value does not depend on who was lost from sight, and when.

    The weights are taken as known in the interval. Uno et al., Statistics in Medicine 30 (2011).
    """
    if not len(time):
        return UNDEFINED
    return _concordance(time, event, risk, 1 / still_followed(time, event, time) ** 2, patient)


def brier_score(time: Floats, event: Floats, survival: Floats, times: Floats, patient: Patients = None) -> Interval:
    """Integrated Brier score: the mean squared error of predicted survival, over time and rows; 0 is best, 0.25 says ½ to all.

    survival: `(N, K)`, the predicted probability to be without the event at each of `times` `(K,)`, which rise; those after the
    last row was seen are left out. Rows that are lost from sight are made up for by weights, taken as known in the interval. nan
    where fewer than two times are left. Graf et al., Statistics in Medicine 18 (1999).
    """
    time, event = _floats(time), _floats(event)
    if not len(time) or not np.isfinite(survival).all():
        return UNDEFINED
    within = np.asarray(times, dtype=np.float64) < time.max()
    at = _floats(times)[within]
    if len(at) < 2:
        return UNDEFINED
    curve = _floats(survival)[:, within]
    gone = (time[:, None] <= at) & (event[:, None] == 1)
    there = time[:, None] > at
    weights = gone / still_followed(time, event, time)[:, None] + there / still_followed(time, event, at, after=True)
    errors = weights * np.where(gone, curve, 1 - curve) ** 2
    of_row = ((errors[:, 1:] + errors[:, :-1]) / 2 * np.diff(at)).sum(axis=1) / (at[-1] - at[0])
    mean = float(of_row.mean())
    return linearised(mean, (of_row - mean) / len(of_row), patient, "size")


def still_followed(time: Floats, event: Floats, at: Floats, *, after: bool = False) -> NDArray[np.float64]:
    """The Kaplan-Meier estimate of the probability not to be lost from sight before each moment of `at`; after: nor at it."""
    time, event = _floats(time), _floats(event)
    moments, place = np.unique(time, return_inverse=True)
    lost = np.bincount(place, event == 0)
    at_risk = len(time) - np.searchsorted(np.sort(time), moments)
    # events come before losses of the same moment
    at_risk = at_risk - np.bincount(place, event == 1)
    left = np.cumprod(np.where(lost > 0, 1 - lost / np.maximum(at_risk, 1), 1.0))
    found: NDArray[np.float64] = np.concatenate([[1.0], left])[
        np.searchsorted(moments, at, side="right" if after else "left")
    ]
    return found


def _concordance(time: Floats, event: Floats, risk: Floats, weight: NDArray[np.float64], patient: Patients) -> Interval:
    """weight: `(N,)`, what a pair counts whose first event is that of the row."""
    time, event, risk = _floats(time), _floats(event), _floats(risk)
    if not np.isfinite(risk).all():
        return UNDEFINED
    agreeing, comparable = np.zeros(len(time)), np.zeros(len(time))
    first = np.flatnonzero(event == 1)
    step = max(1, AT_ONCE // max(1, len(time)))
    for rows in (first[start : start + step] for start in range(0, len(first), step)):
        later = (time > time[rows, None]) | ((time == time[rows, None]) & (event == 0))
        pairs = later * weight[rows, None]
        right = pairs * ((risk[rows, None] > risk) + 0.5 * (risk[rows, None] == risk))
        agreeing[rows] += right.sum(axis=1)
        comparable[rows] += pairs.sum(axis=1)
        agreeing += right.sum(axis=0)
        comparable += pairs.sum(axis=0)
    total = comparable.sum() / 2
    if total == 0:
        return UNDEFINED
    value = float(agreeing.sum() / 2 / total)
    if value in (0.0, 1.0):
        return _extreme(value, np.flatnonzero(comparable), patient)
    return linearised(value, (agreeing - value * comparable) / total, patient, "share")


def _extreme(value: float, rows: NDArray[np.int64], patient: Patients) -> Interval:
    """All pairs agree, or none does: the exact bound of as many independent pairs as half the patients give."""
    pairs = len(rows if patient is None else np.unique(np.asarray(patient)[rows])) // 2
    if not pairs:
        return Interval(value, math.nan, math.nan)
    bound = 0.025 ** (1 / pairs)
    return Interval(value, bound, 1.0) if value else Interval(value, 0.0, 1 - bound)


def _floats(values: Floats) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
