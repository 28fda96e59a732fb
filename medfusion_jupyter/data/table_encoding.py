"""The table as numbers: imputation, scaling and category codes, fit on the training part alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.tables import in_order
from medfusion_jupyter.settings.preprocessing import TablePreprocessing

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort

KNOTS = 1000
"""Ranks are learned at so many values of a column at most."""

IQR_OF_NORMAL = 1.349
"""Interquartile range of a normal distribution in its standard deviations: both scales then mean the same of such values."""

FORMER = {"median": "fill", "mean": "centre", "std": "spread"}
"""Names of fields in models that were stored before a cohort said how its table is preprocessed."""


@dataclass(frozen=True)
class TableArrays:
    """An encoded table of N rows: numeric `(N, F)` float32, codes `(N, K)` int64, present `(N,)` bool (any value is there)."""

    numeric: NDArray[np.float32]
    codes: NDArray[np.int64]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class NumericColumn:
    """How a numeric column is encoded: (x - centre) / spread, with `fill`, `low` and `high` in place of what is no number.

    missing, below, above: whether each such value gives an indicator: where the training part had it. bounds: numbers beyond are
    held there; knots: ascending values at even ranks, by which a number becomes its rank before anything else.
    """

    name: str
    fill: float
    low: float
    high: float
    centre: float
    spread: float
    missing: bool
    below: bool
    above: bool
    bounds: tuple[float, float] | None = None
    knots: tuple[float, ...] = ()
    clip: float = 10.0

    @classmethod
    def fit(cls, name: str, values: NDArray[np.float64], how: TablePreprocessing) -> NumericColumn | None:
        """None where the training part has no number in it: there is nothing to learn from then."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return None
        low, high = float(finite.min()), float(finite.max())
        bounds = None
        if how.outliers:
            least, most = np.quantile(finite, [how.outliers, 1 - how.outliers])
            bounds = float(least), float(most)
            finite = finite.clip(*bounds)
        centre, spread, knots = _scale_of(finite, how.scale)
        fills = {"median": float(np.median(finite)), "mean": float(finite.mean())}
        return cls(
            name=name,
            fill=fills[how.impute] if isinstance(how.impute, str) else how.impute,
            low=low,
            high=high,
            centre=centre,
            spread=spread if spread > 1e-12 else 1.0,
            missing=how.indicators and bool(np.isnan(values).any()),
            below=how.indicators and bool(np.isneginf(values).any()),
            above=how.indicators and bool(np.isposinf(values).any()),
            bounds=bounds,
            knots=knots,
            clip=how.clip,
        )

    def transform(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The scaled values, then the indicators."""
        number = np.select(
            [np.isnan(values), np.isneginf(values), np.isposinf(values)], [self.fill, self.low, self.high], values
        )
        if self.bounds is not None:
            number = number.clip(*self.bounds)
        if self.knots:
            number = _normal_ranks(number, np.asarray(self.knots))
        scaled = ((number - self.centre) / self.spread).clip(-self.clip, self.clip)
        # an indicator that training never saw at 1 would add untrained weights
        indicators = (
            (self.missing, np.isnan(values)),
            (self.below, np.isneginf(values)),
            (self.above, np.isposinf(values)),
        )
        return [scaled, *(mask.astype(np.float64) for seen, mask in indicators if seen)]


def _scale_of(finite: NDArray[np.float64], how: str) -> tuple[float, float, tuple[float, ...]]:
    """Centre, spread and knots."""
    if how == "quantile":
        ranks = np.linspace(0, 1, min(KNOTS, len(finite)))
        return 0.0, 1.0, tuple(map(float, np.quantile(finite, ranks)))
    if how == "robust":
        first, median, third = np.quantile(finite, [0.25, 0.5, 0.75])
        # half of the values and more may be one: their standard deviation still tells the others apart
        return float(median), float(third - first) / IQR_OF_NORMAL or float(finite.std()), ()
    return float(finite.mean()), float(finite.std()), ()


def _normal_ranks(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where values lie among `knots`, as a number that is distributed normally; equal ones take the middle of their ranks."""
    from scipy.special import ndtri

    ranks = np.linspace(0, 1, len(knots)) if len(knots) > 1 else np.asarray([0.5])
    rank = (np.interp(values, knots, ranks) - np.interp(-values, -knots[::-1], -ranks[::-1])) / 2
    edge = 0.5 / len(knots)
    found: NDArray[np.float64] = ndtri(rank.clip(edge, 1 - edge))
    return found


@dataclass(frozen=True)
class TableEncoder:
    """The fitted encoding. categories: of each categorical column, code 0 being a missing or never seen value. grouped: the
    columns with rare categories, whose last code stands for these and for those never seen."""

    columns: tuple[NumericColumn, ...]
    categories: Mapping[str, tuple[str, ...]]
    grouped: tuple[str, ...] = ()

    @classmethod
    def fit(cls, cohort: Cohort) -> TableEncoder:
        """Fit on a cohort, which must be the training part and nothing else."""
        how = cohort.table_preprocessing
        fitted = (NumericColumn.fit(name, cohort.numbers(name), how) for name in cohort.numeric)
        rows_of = {
            name: Counter(value for value in cohort.names(name) if value is not None) for name in cohort.categorical
        }
        return cls(
            columns=tuple(column for column in fitted if column is not None),
            categories={
                name: in_order({value for value, rows in counted.items() if rows >= how.rare})
                for name, counted in rows_of.items()
            },
            grouped=tuple(
                name for name, counted in rows_of.items() if any(rows < how.rare for rows in counted.values())
            ),
        )

    def transform(self, cohort: Cohort) -> TableArrays:
        """Encode any cohort with the same columns."""
        parts = [part for column in self.columns for part in column.transform(cohort.numbers(column.name))]
        codes = np.zeros((len(cohort), len(self.categories)), dtype=np.int64)
        present = np.zeros(len(cohort), dtype=bool)
        for column in self.columns:
            present |= ~np.isnan(cohort.numbers(column.name))
        for k, (name, known) in enumerate(self.categories.items()):
            code_of = {None: 0} | {value: code for code, value in enumerate(known, start=1)}
            unknown = len(known) + 1 if name in self.grouped else 0
            codes[:, k] = [code_of.get(value, unknown) for value in cohort.names(name)]
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
        return tuple(1 + len(known) + (name in self.grouped) for name, known in self.categories.items())

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": [asdict(column) for column in self.columns],
            "categories": {name: list(known) for name, known in self.categories.items()},
            "grouped": list(self.grouped),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> TableEncoder:
        return cls(
            columns=tuple(_column(card) for card in saved["columns"]),
            categories={name: tuple(known) for name, known in saved["categories"].items()},
            grouped=tuple(saved.get("grouped", ())),
        )


def _column(card: Mapping[str, Any]) -> NumericColumn:
    fields: dict[str, Any] = {
        FORMER.get(name, name): tuple(value) if isinstance(value, list) else value for name, value in card.items()
    }
    return NumericColumn(**fields)
