"""What a cohort is learned for: classes, findings, grades, a number, or the time to an event. One dataclass a kind.

Each knows its columns, reads and refuses their values, and says how rows are stratified, counted and described. The words of
`task` are those that heads and metrics are listed by. Several of them together are a MultiTask (`multi_task.py`).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.target_columns import (
    codes_of,
    finite_numbers,
    is_number,
    names_of,
    refuse_missing,
    yes_or_no,
)

Values = NDArray[Any]
"""Of N rows: codes `(N,)` int64 of classes and grades; `(N, L)` float64 of 0, 1 and NaN of labels; `(N,)` float64 of a number;
`(N, 2)` float64, time and event, of survival. Of several tasks these side by side, `(N, W)` float64, NaN where not known."""

QUANTILES = 10


@dataclass(frozen=True)
class Stratum:
    """Rows that a split shares out evenly. rows: `(N,)` bool; needed: whether every part must have some."""

    name: str
    rows: NDArray[np.bool_]
    needed: bool = True


@dataclass(frozen=True)
class TaskValues:
    """What one target says of a cohort. rows: `(N,)` bool, those whose target is known; values: of these rows alone."""

    target: Target
    rows: NDArray[np.bool_]
    values: Values


class Target(ABC):
    """The contract of a target. classes: names in the order of a model's outputs; none where it is a number or a time.
    width: columns of its values."""

    task: ClassVar[str]
    classes: tuple[str, ...] = ()
    width: int = 1

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that it is read from."""

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Those whose values are names, so that `007` stays `007`."""
        return ()

    @property
    def parts(self) -> Mapping[str, Target]:
        """The targets that are learned side by side, by name; of one alone itself, under no name."""
        return {"": self}

    @property
    def tasks(self) -> dict[str, str]:
        """The task of each part."""
        return {name: part.task for name, part in self.parts.items()}

    def by_part(self, values: Values) -> dict[str, TaskValues]:
        """The values of each part."""
        return {"": TaskValues(self, np.ones(len(values), dtype=bool), values)}

    @property
    def name(self) -> str:
        """What it is called where it is told of."""
        return ", ".join(self.columns)

    @abstractmethod
    def read(self, frame: pd.DataFrame) -> tuple[Target, Values]:
        """The target with its classes, and the values of each row. Raises CohortError, naming column and value."""

    def from_columns(self, values: NDArray[np.float64]) -> Values:
        """Values as `read` gives them, of `(N, width)` known ones."""
        return values[:, 0]

    @abstractmethod
    def to_columns(self, values: Values) -> dict[str, NDArray[Any]]:
        """The columns that `read` gives the same values for."""

    @abstractmethod
    def strata(self, values: Values) -> list[Stratum]:
        """What a split keeps even. Every row is in one or more; none is empty."""

    @abstractmethod
    def outcomes(self, values: Values) -> dict[str, NDArray[np.float64]]:
        """Yes-or-no questions `(N,)`, 1, 0 or NaN, on which a check judges how much a single column gives away."""

    @abstractmethod
    def to_json(self) -> Any:
        """What `target_of` makes the target of."""

    def distribution(self, values: Values) -> dict[str, int]:
        """Rows by class, findings by label, rows by range of a number, or events and censored rows."""
        return {stratum.name: int(stratum.rows.sum()) for stratum in self.strata(values)}

    def described(self, values: Values) -> str:
        """The values in a line."""
        return ", ".join(f"{name} {count}" for name, count in self.distribution(values).items())


@dataclass(frozen=True)
class Classification(Target):
    """One of several classes: what a column's name alone means. classes: read of the data, in numerical or alphabetical order."""

    column: str
    classes: tuple[str, ...] = ()

    task: ClassVar[str] = "classification"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def text_columns(self) -> tuple[str, ...]:
        return (self.column,)

    def read(self, frame: pd.DataFrame) -> tuple[Classification, Values]:
        names = names_of(frame, self.column, "a class")
        classes = tables.in_order(set(names))
        if len(classes) < 2:
            raise CohortError(
                f"The target {self.column!r} has one class only ({classes[0]!r}): there is nothing to tell apart."
            )
        if len(classes) > max(20, len(frame) // 10):
            raise CohortError(
                f"The target {self.column!r} has {len(classes)} different values in {len(frame)} rows: it must be a class, "
                f"not a measurement. Give target=mf.Regression({self.column!r}), or cut it into classes first, as by "
                "pandas.cut."
            )
        return dataclasses.replace(self, classes=classes), codes_of(names, classes)

    def from_columns(self, values: NDArray[np.float64]) -> Values:
        return values[:, 0].astype(np.int64)

    def to_columns(self, values: Values) -> dict[str, NDArray[Any]]:
        return {self.column: np.asarray(self.classes, dtype=object)[values]}

    def strata(self, values: Values) -> list[Stratum]:
        return [Stratum(name, values == code) for code, name in enumerate(self.classes)]

    def outcomes(self, values: Values) -> dict[str, NDArray[np.float64]]:
        asked = list(enumerate(self.classes))[1 if len(self.classes) == 2 else 0 :]
        return {name: (values == code).astype(np.float64) for code, name in asked}

    def to_json(self) -> Any:
        return self.column


@dataclass(frozen=True)
class Multilabel(Target):
    """Any of several findings, a column each: what a list of columns means.

    Values are 0 and 1, yes and no, or true and false; a missing one is not known, and is neither learned from nor judged.
    """

    labels: tuple[str, ...]

    task: ClassVar[str] = "multilabel"

    def __post_init__(self) -> None:
        if isinstance(self.labels, str):
            raise CohortError(f"Multilabel({self.labels!r}) must have a list of columns: [{self.labels!r}].")
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise CohortError(f"target={list(self.labels)}: list one or more columns, each once.")

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The labels."""
        return self.labels

    @property
    def width(self) -> int:  # type: ignore[override]
        """A column of values for each label."""
        return len(self.labels)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.labels

    def read(self, frame: pd.DataFrame) -> tuple[Multilabel, Values]:
        values = np.stack([yes_or_no(frame[label], label) for label in self.labels], axis=1)
        for label, column in zip(self.labels, values.T, strict=True):
            for value, word in ((1, "positive"), (0, "negative")):
                if not (column == value).any():
                    raise CohortError(
                        f"The label {label!r} is {word} in no row: there is nothing to tell apart. Leave it out."
                    )
        return self, values

    def from_columns(self, values: NDArray[np.float64]) -> Values:
        return values

    def to_columns(self, values: Values) -> dict[str, NDArray[Any]]:
        return dict(zip(self.labels, values.T, strict=True))

    def strata(self, values: Values) -> list[Stratum]:
        found = [Stratum(label, values[:, k] == 1) for k, label in enumerate(self.labels)]
        rest = Stratum("none of them", ~(values == 1).any(axis=1), needed=False)
        return [*found, rest] if rest.rows.any() else found

    def outcomes(self, values: Values) -> dict[str, NDArray[np.float64]]:
        return dict(zip(self.labels, values.T, strict=True))

    def distribution(self, values: Values) -> dict[str, int]:
        return {label: int((values[:, k] == 1).sum()) for k, label in enumerate(self.labels)}

    def to_json(self) -> Any:
        return list(self.labels)


@dataclass(frozen=True)
class Ordinal(Classification):
    """Grades in an order. classes: the lowest first; by default in the order of the numbers, where all grades are numbers."""

    task: ClassVar[str] = "ordinal"

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            raise CohortError(f"classes={self.classes!r} must be a list of grades, the lowest first.")
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        if len(set(self.classes)) < len(self.classes) or len(self.classes) == 1:
            raise CohortError(f"classes={list(self.classes)}: list two or more grades, each once, the lowest first.")

    def read(self, frame: pd.DataFrame) -> tuple[Ordinal, Values]:
        names = names_of(frame, self.column, "a grade")
        classes = self.classes or tables.in_order(set(names))
        if not self.classes and not all(is_number(name) for name in classes):
            raise CohortError(
                f"The grades of {self.column!r} have no order that numbers give ({', '.join(map(repr, classes[:5]))}): list "
                f"them, the lowest first, as in mf.Ordinal({self.column!r}, classes=[…])."
            )
        other = sorted(set(names) - set(classes))
        if other:
            raise CohortError(
                f"The target {self.column!r} has the grade {other[0]!r}, which is not among classes={list(classes)}."
            )
        if len(set(names)) < 2:
            raise CohortError(
                f"The target {self.column!r} has one grade only ({names[0]!r}): there is nothing to tell apart."
            )
        return dataclasses.replace(self, classes=classes), codes_of(names, classes)

    def strata(self, values: Values) -> list[Stratum]:
        return [stratum for stratum in super().strata(values) if stratum.rows.any()]

    def outcomes(self, values: Values) -> dict[str, NDArray[np.float64]]:
        return {
            name if code == len(self.classes) - 1 else f"{name} or higher": (values >= code).astype(np.float64)
            for code, name in enumerate(self.classes)
            if code and (values >= code).any() and (values < code).any()
        }

    def to_json(self) -> Any:
        return {"task": self.task, "column": self.column, "classes": list(self.classes)}


@dataclass(frozen=True)
class Regression(Target):
    """A number, in any unit."""

    column: str

    task: ClassVar[str] = "regression"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def read(self, frame: pd.DataFrame) -> tuple[Regression, Values]:
        values = finite_numbers(frame, self.column)
        if values.min() == values.max():
            raise CohortError(f"The target {self.column!r} is {values[0]:g} in every row: there is nothing to learn.")
        return self, values

    def to_columns(self, values: Values) -> dict[str, NDArray[Any]]:
        return {self.column: values}

    def strata(self, values: Values) -> list[Stratum]:
        bins = int(np.clip(len(values) // 10, 1, QUANTILES))
        return [dataclasses.replace(one, needed=False) for one in _ranges(values, bins)]

    def distribution(self, values: Values) -> dict[str, int]:
        return {one.name: int(one.rows.sum()) for one in _ranges(values, 4)}

    def outcomes(self, values: Values) -> dict[str, NDArray[np.float64]]:
        half = float(np.median(values))
        above = values > half if (values > half).any() else values >= half
        return {f"above {half:.4g}": above.astype(np.float64)}

    def described(self, values: Values) -> str:
        return f"{values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}"

    def to_json(self) -> Any:
        return {"task": self.task, "column": self.column}


@dataclass(frozen=True)
class Survival(Target):
    """The time to an event, part of the times being censored.

    time: column with the time, 0 or more in any unit, until the event or until the row was last seen without it; event: column
    that says which, 1 (yes, true) where the event was then.
    """

    time: str
    event: str

    task: ClassVar[str] = "survival"
    width: ClassVar[int] = 2  # type: ignore[misc]

    def __post_init__(self) -> None:
        if self.time == self.event:
            raise CohortError(f"time and event are both {self.time!r}: they are two columns.")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.time, self.event)

    @property
    def name(self) -> str:
        return f"{self.time} to {self.event}"

    def read(self, frame: pd.DataFrame) -> tuple[Survival, Values]:
        time = finite_numbers(frame, self.time)
        if (time < 0).any():
            raise CohortError(
                f"The time {self.time!r} is negative in {int((time < 0).sum())} rows (the first: {time[time < 0][0]:g}): count "
                "it from the moment of the prediction, and leave out rows whose event was before."
            )
        event = yes_or_no(frame[self.event], self.event)
        refuse_missing(np.isnan(event), self.event, "whether the event was seen", len(frame))
        if not event.any():
            raise CohortError(
                f"All {len(frame)} rows are censored: {self.event!r} is never 1. Without events nothing can be learned."
            )
        if time.min() == time.max():
            raise CohortError(f"The time {self.time!r} is {time[0]:g} in every row: nobody comes before another.")
        return self, np.stack([time, event], axis=1)

    def from_columns(self, values: NDArray[np.float64]) -> Values:
        return values

    def to_columns(self, values: Values) -> dict[str, NDArray[Any]]:
        return {self.time: values[:, 0], self.event: values[:, 1]}

    def strata(self, values: Values) -> list[Stratum]:
        event = values[:, 1] == 1
        found = [Stratum("event", event), Stratum("censored", ~event, needed=False)]
        return [one for one in found if one.rows.any()]

    def outcomes(self, values: Values) -> dict[str, NDArray[np.float64]]:
        return {"event": values[:, 1]}

    def described(self, values: Values) -> str:
        events = int(values[:, 1].sum())
        return f"{events} events, {len(values) - events} censored, times {values[:, 0].min():.4g} to {values[:, 0].max():.4g}"

    def to_json(self) -> Any:
        return {"task": self.task, "time": self.time, "event": self.event}


def _ranges(values: NDArray[np.float64], count: int) -> list[Stratum]:
    """The rows by quantile, as far as ties allow; named by the range of their values."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1])) if count > 1 else np.zeros(0)
    codes = np.searchsorted(edges, values, side="right")
    found = []
    for code in np.unique(codes):
        of_range = values[codes == code]
        found.append(Stratum(f"{of_range.min():.4g} to {of_range.max():.4g}", codes == code))
    return found
