"""The interval over folds is that of the corrected resampled t-test."""

import math

import numpy as np
import pytest
from scipy.stats import t

from medfusion_jupyter.metrics import mean_over_folds


def test_the_interval_is_that_of_nadeau_and_bengio():
    values = [0.81, 0.84, 0.79, 0.88, 0.83]
    found = mean_over_folds(values, test_to_train=0.25)
    half = t.ppf(0.975, 4) * np.sqrt((1 / 5 + 0.25) * np.var(values, ddof=1))
    assert (found.value, found.low, found.high) == pytest.approx(
        (np.mean(values), np.mean(values) - half, np.mean(values) + half)
    )
    plain = t.ppf(0.975, 4) * np.std(values, ddof=1) / np.sqrt(5)
    assert found.high - found.value > 1.4 * plain


def test_folds_that_overlap_in_training_are_not_taken_for_independent():
    """Folds that correlate as Nadeau and Bengio assume: 95 of 100 intervals hold the true mean."""
    rng = np.random.default_rng(0)
    share = 0.25
    correlation = share / (1 + share)
    held = 0
    for _ in range(2000):
        shared = rng.normal(0, math.sqrt(correlation))
        found = mean_over_folds(shared + rng.normal(0, math.sqrt(1 - correlation), 10), share)
        held += found.low <= 0 <= found.high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_one_fold_has_no_interval_and_none_no_mean():
    one = mean_over_folds([0.8], 0.25)
    assert one.value == 0.8
    assert math.isnan(one.low)
    assert math.isnan(mean_over_folds([], 0.25).value)
    assert math.isnan(mean_over_folds([0.8, math.nan], 0.25).value)
