"""Several targets that one model learns side by side, of each of which a row may know nothing."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.targets import Stratum, Target, TaskValues, Values


@dataclass(frozen=True)
class MultiTask(Target):
    """Several targets by name, in the order of a model's heads: what a mapping of names to targets means.

    A row in which all columns of a target are empty does not know that target: it is neither learned from nor judged for it.
    Names are made of letters, digits and `_`, as metrics and columns of predictions begin with them.
    """

    targets: Mapping[str, Target]

    task: ClassVar[str] = "multi_task"

    def __post_init__(self) -> None:
        if len(self.targets) < 2:
            raise CohortError(f"target={list(self.targets)}: name two targets or more, or give the one without a name.")
        for name, part in self.targets.items():
            if not name.isidentifier() or name == "task":
                raise CohortError(
                    f"target={{{name!r}: …}}: a name has letters, digits and '_', and does not begin with a digit, as columns "
                    "and metrics begin with it; 'task' is taken."
                )
            if isinstance(part, MultiTask):
                raise CohortError(f"The target {name!r} has targets of its own: name all of them side by side.")
        twice = [column for column, count in Counter(self.columns).items() if count > 1]
        if twice:
            raise CohortError(
                f"The column {twice[0]!r} is of two targets: keep it in one, or give the other a copy of the column."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for part in self.targets.values() for column in part.columns)

    @property
    def text_columns(self) -> tuple[str, ...]:
        return tuple(column for part in self.targets.values() for column in part.text_columns)

    @property
    def name(self) -> str:
        return ", ".join(self.targets)

    @property
    def parts(self) -> Mapping[str, Target]:
        return self.targets

    @property
    def width(self) -> int:  # type: ignore[override]
        """The columns of all targets."""
        return sum(part.width for part in self.targets.values())

    def read(self, frame: pd.DataFrame) -> tuple[MultiTask, Values]:
        read: dict[str, Target] = {}
        columns: list[NDArray[np.float64]] = []
        for name, part in self.targets.items():
            there = np.zeros(len(frame), dtype=bool)
            for column in part.columns:
                there |= np.asarray([value is not None for value in tables.names(frame[column])])
            if not there.any():
                raise CohortError(
                    f"The target {name!r} ({', '.join(part.columns)}) is empty in all {len(frame)} rows: leave it out."
                )
            try:
                read[name], values = part.read(frame[there])
            except CohortError as refused:
                raise CohortError(f"target {name!r}, of the {there.sum()} rows that know it: {refused}") from None
            columns.append(_spread(values, there, part.width))
        return dataclasses.replace(self, targets=read), np.concatenate(columns, axis=1)

    def by_part(self, values: Values) -> dict[str, TaskValues]:
        ends = np.cumsum([part.width for part in self.targets.values()])[:-1]
        found = {}
        for (name, part), columns in zip(self.targets.items(), np.split(values, ends, axis=1), strict=True):
            known = ~np.isnan(columns).all(axis=1)
            found[name] = TaskValues(part, known, part.from_columns(columns[known]))
        return found

    def _known(self, values: Values) -> dict[str, TaskValues]:
        """Those of which some row knows the target: a subset of a cohort may know nothing of one."""
        return {name: part for name, part in self.by_part(values).items() if part.rows.any()}

    def to_columns(self, values: Values) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        for part in self.by_part(values).values():
            for column, known in part.target.to_columns(part.values).items():
                whole = np.full(len(values), np.nan if known.dtype.kind == "f" else None, dtype=known.dtype)
                whole[part.rows] = known
                found[column] = whole
        return found

    def strata(self, values: Values) -> list[Stratum]:
        found = [
            dataclasses.replace(one, name=f"{name}: {one.name}", rows=_among(one.rows, part.rows))
            for name, part in self._known(values).items()
            for one in part.target.strata(part.values)
        ]
        rest = Stratum("nothing known", np.asarray(np.isnan(values).all(axis=1)), needed=False)
        return [*found, rest] if rest.rows.any() else found

    def outcomes(self, values: Values) -> dict[str, NDArray[np.float64]]:
        return {
            f"{name}: {question}": _spread(answers, part.rows, 1)[:, 0]
            for name, part in self._known(values).items()
            for question, answers in part.target.outcomes(part.values).items()
        }

    def distribution(self, values: Values) -> dict[str, int]:
        return {
            f"{name}: {what}": count
            for name, part in self._known(values).items()
            for what, count in part.target.distribution(part.values).items()
        }

    def described(self, values: Values) -> str:
        return "; ".join(f"{name} {part.target.described(part.values)}" for name, part in self._known(values).items())

    def to_json(self) -> Any:
        # with the classes, which a model that predicts does not read from its rows
        parts = {name: {"task": part.task, **vars(part)} for name, part in self.targets.items()}
        return {"task": self.task, "targets": parts}


def _spread(values: NDArray[Any], rows: NDArray[np.bool_], width: int) -> NDArray[np.float64]:
    """Values of some rows among all, `(N, width)`, NaN elsewhere."""
    found = np.full((len(rows), width), np.nan)
    found[rows] = values.reshape(-1, width)
    return found


def _among(chosen: NDArray[np.bool_], rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found = np.zeros(len(rows), dtype=bool)
    found[rows] = chosen
    return found
