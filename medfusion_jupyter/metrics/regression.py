"""How near predicted numbers come: MAE, RMSE, R² and Spearman's rank correlation, each with a 95 % interval by patient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.metrics.discrimination import UNDEFINED, Interval, midranks
from medfusion_jupyter.metrics.linearised import linearised

Floats = NDArray[np.floating] | NDArray[np.integer]
Patients = NDArray[np.integer] | None


def mae(target: Floats, predicted: Floats, patient: Patients = None) -> Interval:
    """Mean absolute error, in the unit of the target; target, predicted: `(N,)`; patient as in `linearised`."""
    if not _usable(target, predicted):
        return UNDEFINED
    errors = np.abs(_floats(predicted) - _floats(target))
    mean = float(errors.mean())
    return linearised(mean, (errors - mean) / len(errors), patient, "size")


def rmse(target: Floats, predicted: Floats, patient: Patients = None) -> Interval:
    """Root of the mean squared error, in the unit of the target; arguments as of `mae`."""
    if not _usable(target, predicted):
        return UNDEFINED
    squares = (_floats(predicted) - _floats(target)) ** 2
    mean = float(squares.mean())
    root = math.sqrt(mean)
    moves = (squares - mean) / (2 * root * len(squares)) if root else np.zeros(len(squares))
    return linearised(root, moves, patient, "size")


def r2(target: Floats, predicted: Floats, patient: Patients = None) -> Interval:
    """Share of the target's variance that is explained: 1 - MSE / variance, below 0 for worse than the mean; as of `mae`.

    nan where the target does not vary.
    """
    if not _usable(target, predicted) or np.ptp(target) == 0:
        return UNDEFINED
    y = _floats(target)
    squares, spread = (_floats(predicted) - y) ** 2, (y - y.mean()) ** 2
    error, variance = float(squares.mean()), float(spread.mean())
    moves = -((squares - error) / variance - error * (spread - variance) / variance**2) / len(y)
    return linearised(1 - error / variance, moves, patient, "explained")


def spearman(target: Floats, predicted: Floats, patient: Patients = None) -> Interval:
    """Spearman's rank correlation; arguments as of `mae`. nan where either does not vary.

    The interval knows that the ranks are estimated. Borkowf, Computational Statistics & Data Analysis 39 (2002).
    """
    if not _usable(target, predicted) or np.ptp(target) == 0 or np.ptp(predicted) == 0:
        return UNDEFINED
    n = len(target)
    below = [(midranks(_floats(one)) - 0.5) / n - 0.5 for one in (target, predicted)]
    scale = float(below[0].std() * below[1].std())
    value = float((below[0] * below[1]).mean()) / scale
    moves = below[0] * below[1] + _above(target, below[1]) + _above(predicted, below[0])
    return linearised(value, (moves - moves.mean()) / (scale * n), patient, "correlation")


def _above(values: Floats, other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row the mean of `other` over rows of larger values, those of its own counting half."""
    _, place = np.unique(values, return_inverse=True)
    sums = np.bincount(place, other)
    above: NDArray[np.float64] = (sums.sum() - np.cumsum(sums) + sums / 2)[place] / len(other)
    return above


def _floats(values: Floats) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _usable(target: Floats, predicted: Floats) -> bool:
    return len(target) > 0 and bool(np.isfinite(target).all() and np.isfinite(predicted).all())
