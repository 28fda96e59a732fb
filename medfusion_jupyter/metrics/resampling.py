"""Intervals over the folds of a cross-validation, whose training parts overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medfusion_jupyter.metrics.discrimination import Interval


def mean_over_folds(values: Sequence[float], test_to_train: float) -> Interval:
    """Mean of a metric over folds with the 95 % interval of the corrected resampled t-test.

    values: one a fold, of all repeats; test_to_train: rows of a test part for each row of its training part. Folds learn
    from rows in common, so that the plain variance of their mean is too small: 1/J becomes 1/J + test_to_train. nan
    where a value is; the bounds are nan for fewer than two folds.

    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52 (2003); for repeated folds Bouckaert
    and Frank, PAKDD 2004.
    """
    from scipy.special import stdtrit  # not before it is needed: its import takes a while

    each = np.asarray(values, dtype=np.float64)
    if not len(each):
        return Interval(math.nan, math.nan, math.nan)
    mean = float(each.mean())
    if len(each) < 2:
        return Interval(mean, math.nan, math.nan)
    spread = math.sqrt((1 / len(each) + test_to_train) * float(each.var(ddof=1)))
    half = float(stdtrit(len(each) - 1, 0.975)) * spread
    return Interval(mean, mean - half, mean + half)
