"""The table as numbers: imputation, scaling and category codes, fit on the training part alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.tables import in_order

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort

CLIP = 10.0
"""Scaled values are held within so many standard deviations: a slip of the decimal point must not swamp a batch."""


@dataclass(frozen=True)
class TableArrays:
    """An encoded table of N rows: numeric `(N, F)` float32, codes `(N, K)` int64, present `(N,)` bool (any value is there)."""

    numeric: NDArray[np.float32]
    codes: NDArray[np.int64]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class NumericColumn:
    """How a numeric column is encoded: (x - mean) / std, with `median`, `low` and `high` in place of what is no number.

    missing, below, above: whether the training part had such values; each then gives an indicator.
    """

    name: str
    median: float
    low: float
    high: float
    mean: float
    std: float
    missing: bool
    below: bool
    above: bool

    @classmethod
    def fit(cls, name: str, values: NDArray[np.float64]) -> NumericColumn | None:
        """None where the training part has no number in it: there is nothing to learn from then."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return None
        std = float(finite.std())
        return cls(
            name=name,
            median=float(np.median(finite)),
            low=float(finite.min()),
            high=float(finite.max()),
            mean=float(finite.mean()),
            std=std if std > 1e-12 else 1.0,
            missing=bool(np.isnan(values).any()),
            below=bool(np.isneginf(values).any()),
            above=bool(np.isposinf(values).any()),
        )

    def transform(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The scaled values, then the indicators."""
        number = np.select(
            [np.isnan(values), np.isneginf(values), np.isposinf(values)], [self.median, self.low, self.high], values
        )
        scaled = ((number - self.mean) / self.std).clip(-CLIP, CLIP)
        # an indicator that training never saw at 1 would add untrained weights
        indicators = (
            (self.missing, np.isnan(values)),
            (self.below, np.isneginf(values)),
            (self.above, np.isposinf(values)),
        )
        return [scaled, *(mask.astype(np.float64) for seen, mask in indicators if seen)]


@dataclass(frozen=True)
class TableEncoder:
    """The fitted encoding. categories: of each categorical column, code 0 being a missing or never seen value."""

    columns: tuple[NumericColumn, ...]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def fit(cls, cohort: Cohort) -> TableEncoder:
        """Fit on a cohort, which must be the training part and nothing else."""
        fitted = (NumericColumn.fit(name, cohort.numbers(name)) for name in cohort.numeric)
        return cls(
            columns=tuple(column for column in fitted if column is not None),
            categories={
                name: in_order({value for value in cohort.names(name) if value is not None})
                for name in cohort.categorical
            },
        )

    def transform(self, cohort: Cohort) -> TableArrays:
        """Encode any cohort with the same columns."""
        parts = [part for column in self.columns for part in column.transform(cohort.numbers(column.name))]
        codes = np.zeros((len(cohort), len(self.categories)), dtype=np.int64)
        present = np.zeros(len(cohort), dtype=bool)
        for column in self.columns:
            present |= ~np.isnan(cohort.numbers(column.name))
        for k, (name, known) in enumerate(self.categories.items()):
            code_of = {value: code for code, value in enumerate(known, start=1)}
            codes[:, k] = [code_of.get(value, 0) for value in cohort.names(name)]
            present |= np.asarray([value is not None for value in cohort.names(name)])
        numeric = np.stack(parts, axis=1) if parts else np.zeros((len(cohort), 0))
        return TableArrays(numeric.astype(np.float32), codes, present)

    @property
    def num_features(self) -> int:
        """Width of the numeric part, indicators included."""
        return sum(1 + column.missing + column.below + column.above for column in self.columns)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each categorical column."""
        return tuple(1 + len(known) for known in self.categories.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": [asdict(column) for column in self.columns],
            "categories": {name: list(known) for name, known in self.categories.items()},
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> TableEncoder:
        return cls(
            columns=tuple(NumericColumn(**column) for column in saved["columns"]),
            categories={name: tuple(known) for name, known in saved["categories"].items()},
        )
