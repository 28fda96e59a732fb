"""How well findings are told, each for itself: the AUROC of each label, and their mean."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.metrics.discrimination import UNDEFINED, Interval, auroc


def auroc_of_labels(
    target: NDArray[np.floating], probability: NDArray[np.floating], patient: NDArray[np.integer] | None = None
) -> list[Interval]:
    """The AUROC of each of L labels over the rows where it is known.

    target: `(N, L)` of 0, 1 and NaN where not known; probability: `(N, L)`; patient as in `auroc`. nan where a label is on one
    side only.
    """
    found = []
    for label, score in zip(np.asarray(target).T, np.asarray(probability).T, strict=True):
        known = ~np.isnan(label)
        found.append(auroc(label[known] == 1, score[known], None if patient is None else patient[known]))
    return found


def macro_auroc(
    target: NDArray[np.floating], probability: NDArray[np.floating], patient: NDArray[np.integer] | None = None
) -> Interval:
    """The mean AUROC over the labels that have one; arguments as of `auroc_of_labels`.

    Its bounds are the means of theirs, which is on the safe side: labels that hang together are not taken for independent.
    """
    defined = [one for one in auroc_of_labels(target, probability, patient) if not math.isnan(one.value)]
    if not defined:
        return UNDEFINED
    return Interval(*(float(np.mean([getattr(one, part) for one in defined])) for part in ("value", "low", "high")))
