"""How near predicted grades come: quadratic weighted kappa and the mean distance, each with a 95 % interval by patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.metrics.discrimination import UNDEFINED, Interval
from medfusion_jupyter.metrics.linearised import linearised


def predicted_grades(probability: NDArray[np.floating]) -> NDArray[np.int64]:
    """`(N, K) -> (N,)`: the grade in the middle of the predicted distribution, which has the least expected distance."""
    above = 1 - np.cumsum(np.asarray(probability, dtype=np.float64), axis=1)[:, :-1]
    grades: NDArray[np.int64] = (above > 0.5).sum(axis=1)
    return grades


def quadratic_kappa(
    target: NDArray[np.integer], predicted: NDArray[np.integer], patient: NDArray[np.integer] | None = None
) -> Interval:
    """Cohen's kappa with quadratic weights: 1 for grades that agree, 0 for no more than chance.

    target, predicted: grades `(N,)` from 0; patient as in `linearised`. nan where both are of one and the same grade. Cohen,
    Psychological Bulletin 70 (1968); the interval is that of Fleiss, Cohen and Everitt (1969) where no patient repeats.
    """
    y, p = np.asarray(target, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    n = len(y)
    if not n:
        return UNDEFINED
    apart = (y - p) ** 2
    seen = float(apart.mean())
    by_chance = float((y**2).mean() + (p**2).mean() - 2 * y.mean() * p.mean())
    if by_chance == 0:
        return UNDEFINED
    moves_seen = apart - seen
    moves_chance = y**2 + p**2 - 2 * (y * p.mean() + p * y.mean()) + 2 * y.mean() * p.mean() - by_chance
    moves = -(moves_seen / by_chance - seen * moves_chance / by_chance**2) / n
    return linearised(1 - seen / by_chance, moves, patient, "correlation")
