"""How well a single column predicts the target: an AUROC on patients that were not looked at, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.metrics import UNDEFINED, Interval, auroc

FOLDS = 5
QUANTILES = 10
"""A number is judged by the tenth of the cohort it falls into: that finds U shapes too, which a straight line would not."""

DISTINCT = 200
"""A column of text with more values than this is taken for free text or names; only whether it is filled in is judged."""

Bins = NDArray[np.int64]


@dataclass(frozen=True)
class Predicts:
    """AUROC of `class_name`, a class or what else is asked of the target, against the rest from one column alone."""

    area: Interval
    class_name: str

    def __str__(self) -> str:
        return f"AUROC {self.area.value:.2f} ({self.area.low:.2f} to {self.area.high:.2f})"


class Predictability:
    """The cross-validation that every column goes through: the same folds, dealt by patient and by what is asked.

    outcomes: yes-or-no questions `(N,)`, 1, 0 or NaN where not known, as of `Target.outcomes`; patients: `(N,)` codes. A row
    weighs one over the rows of its patient, so that one with many rows does not settle what a value means.
    """

    def __init__(self, outcomes: Mapping[str, NDArray[np.float64]], patients: NDArray[np.int64], *, seed: int) -> None:
        self._outcomes = outcomes
        self._patients = np.unique(patients, return_inverse=True)[1]
        self._weights = 1 / np.bincount(self._patients)[self._patients]
        answers = np.nan_to_num(np.stack(list(outcomes.values()), axis=1), nan=-1)
        kinds = np.unique(answers, axis=0, return_inverse=True)[1].reshape(-1)
        self._fold = _folds(kinds, self._patients, seed)

    def of(self, bins: Bins) -> Predicts | None:
        """The outcome that the bins `(N,)` tell best, over those with patients enough; None where none has."""
        best: Predicts | None = None
        for name, outcome in self._outcomes.items():
            area = self._area(bins, outcome)
            if not math.isnan(area.low) and (best is None or area.value > best.area.value):
                best = Predicts(area, name)
        return best

    def _area(self, bins: Bins, outcome: NDArray[np.float64]) -> Interval:
        known = ~np.isnan(outcome)
        positive, bins, folds, patients = outcome[known] == 1, bins[known], self._fold[known], self._patients[known]
        if not len(bins):
            return UNDEFINED
        score = np.zeros(len(bins))
        size = int(bins.max()) + 1
        for fold in range(FOLDS):
            held = folds == fold
            weights = self._weights[known][~held]
            cases = np.bincount(bins[~held], weights * positive[~held], minlength=size)
            all_of_bin = np.bincount(bins[~held], weights, minlength=size)
            if not 0 < cases.sum() < all_of_bin.sum():
                continue
            share = cases.sum() / all_of_bin.sum()
            # one patient of the average rate is added to each bin: a value that was seen once says little
            odds = (cases + share) / (all_of_bin - cases + 1 - share)
            # against the odds of the fold's training part: else the folds' rates would be ranked, in reverse
            score[held] = np.log(odds * (1 - share) / share)[bins[held]]
        return auroc(positive, score, patients)


def _folds(kinds: NDArray[np.int64], patients: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold of each row: patients of each kind of answers (that of their first row) are dealt in turn."""
    _, first = np.unique(patients, return_index=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    by_class = shuffled[np.argsort(kinds[first][shuffled], kind="stable")]
    fold = np.empty(len(first), dtype=np.int64)
    fold[by_class] = np.arange(len(first)) % FOLDS
    return fold[patients]


def bins_of(values: pd.Series) -> Bins:
    """A bin for each value: 0 where it is missing; for numbers a tenth of the cohort, for text and for few values one a value."""
    if pd.api.types.is_datetime64_any_dtype(values):
        numbers = values.astype("int64").where(values.notna()).astype(np.float64)
    elif pd.api.types.is_bool_dtype(values):
        numbers = values.astype(np.float64)
    else:
        numbers = pd.to_numeric(values, errors="coerce")
    there = values.notna().to_numpy()
    as_numbers = np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    if there.any() and not np.isnan(as_numbers[there]).any():
        return bins_of_numbers(as_numbers)
    codes, kinds = pd.factorize(values.astype(str).str.strip().where(values.notna()))
    if len(kinds) > DISTINCT:
        return filled(values)
    return np.asarray(codes, dtype=np.int64) + 1


def bins_of_numbers(values: NDArray[np.float64]) -> Bins:
    """0 where missing, the next bins -inf and the tenths, the last inf; a bin a value where there are few."""
    bins = np.zeros(len(values), dtype=np.int64)
    there = ~np.isnan(values)
    kinds = np.unique(values[there])
    if len(kinds) <= 2 * QUANTILES:
        bins[there] = 1 + np.searchsorted(kinds, values[there])
        return bins
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, QUANTILES + 1)[1:-1]))
    bins[there] = 2 + np.searchsorted(edges, values[there], side="right")
    bins[np.isneginf(values)] = 1
    bins[np.isposinf(values)] = len(edges) + 3
    return bins


def filled(values: pd.Series) -> Bins:
    """1 where there is a value, 0 where it is missing."""
    there = values.notna().to_numpy() & (values.astype(str).str.strip() != "").to_numpy()
    return there.astype(np.int64)
