"""What each column of a table seems to be: shown, with the reason, and corrected by whoever knows better."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.dates import is_date
from medfusion_jupyter.data.errors import CohortError, closest
from medfusion_jupyter.data.units import measured, unit_in_name

Kind = Literal["number", "category", "date", "text", "name", "empty"]

FEW = 20
"""A column of text with so many different values at most is one of categories."""

CODES = 6
"""Whole numbers with so few different values may be codes of categories; the reason says so."""

WORDS = 3.5
"""Values of so many words on average are sentences."""


@dataclass(frozen=True)
class ColumnType:
    """What a column seems to be. kind: `number`, `category`, `date`, `text` (sentences), `name` (nearly each value is another) or
    `empty`; why: the reason; unit: of its numbers, where name or values say it; missing: share of the rows."""

    name: str
    kind: Kind
    why: str
    unit: str | None
    missing: float


class ColumnTypes(Mapping[str, ColumnType]):
    """The columns of a table by name. `numeric` and `categorical` are for Cohort; `corrected` and `without` change them."""

    def __init__(self, columns: Mapping[str, ColumnType]) -> None:
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> ColumnType:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def numeric(self) -> list[str]:
        """The columns of numbers."""
        return [column.name for column in self.values() if column.kind == "number"]

    @property
    def categorical(self) -> list[str]:
        """The columns of categories."""
        return [column.name for column in self.values() if column.kind == "category"]

    def corrected(self, **kinds: Kind) -> ColumnTypes:
        """The same with other kinds, as `columns.corrected(stage="category")`. Raises CohortError for an unknown name or kind."""
        self._refuse_unknown(kinds)
        for kind in kinds.values():
            if kind not in get_args(Kind):
                raise CohortError(f"There is no kind {kind!r}. Choose {', '.join(get_args(Kind))}.")
        return ColumnTypes(
            {name: replace(c, kind=kinds[name], why="you said so") if name in kinds else c for name, c in self.items()}
        )

    def without(self, *names: str) -> ColumnTypes:
        """The same without some columns, such as what is known only after the outcome."""
        self._refuse_unknown(names)
        return ColumnTypes({name: column for name, column in self.items() if name not in names})

    def _refuse_unknown(self, names: Mapping[str, Kind] | tuple[str, ...]) -> None:
        for name in names:
            if name not in self:
                raise CohortError(f"There is no column {name!r}.{closest(name, self)}")

    def __repr__(self) -> str:
        return "\n".join(
            f"{c.name}: {c.kind}{f' in {c.unit}' if c.unit else ''}, {c.missing:.0%} missing ({c.why})"
            for c in self.values()
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(c.name)}</td><td>{c.kind}</td><td>{html.escape(c.unit or '')}</td>"
            f"<td>{c.missing:.0%}</td><td style='text-align:left'>{html.escape(c.why)}</td></tr>"
            for c in self.values()
        )
        return (
            "<table><tr><th>column</th><th>kind</th><th>unit</th><th>missing</th><th>why</th></tr>"
            f"{rows}</table><small>Nothing is learned from until you list it: "
            "Cohort(…, numeric=columns.numeric, categorical=columns.categorical). Take out what is known only after the outcome: "
            "columns.without(…).</small>"
        )


def infer_columns(table: str | os.PathLike[str] | pd.DataFrame) -> ColumnTypes:
    """What each column of a table seems to be, with the reason; correct it where you know better.

    table: a DataFrame, or the path of a UTF-8 CSV. Raises CohortError where the table cannot be read.
    """
    frame = table if isinstance(table, pd.DataFrame) else tables.read_csv(Path(table).expanduser(), set())
    tables.refuse_repeated(list(frame.columns), "The table")
    return ColumnTypes({str(name): _type_of(str(name), frame[name]) for name in frame.columns})


def _type_of(name: str, column: pd.Series) -> ColumnType:
    texts = tables.names(column)
    there = [text for text in texts if text is not None]
    unit = unit_in_name(name)
    kinds = len(set(there))
    kind: Kind
    if not there:
        kind, why = "empty", "no value in any row"
    elif is_date(column):
        kind, why = "date", "all values are dates; mf.days_since(table, reference) makes days of them"
    else:
        try:
            values, of_values = measured(column, name)
        except CohortError:
            kind, why = _kind_of_text(there, kinds)
        else:
            unit = unit or of_values
            kind, why = _kind_of_numbers(values, kinds)
    return ColumnType(name, kind, why, unit, 1 - len(there) / max(1, len(texts)))


def _kind_of_numbers(values: np.ndarray, kinds: int) -> tuple[Kind, str]:
    finite = values[np.isfinite(values)]
    beyond = int(np.isinf(values).sum())
    limits = f", {beyond} beyond a detection limit" if beyond else ""
    whole = len(finite) == 0 or bool((finite == np.rint(finite)).all())
    if kinds == 2 and set(finite) <= {0.0, 1.0}:
        return "category", "0 and 1"
    if whole and kinds == len(values) and kinds > FEW and not beyond:
        return "name", "a whole number that is another in each row, as an id is"
    if whole and kinds <= CODES:
        return "number", f"{kinds} whole numbers{limits}; correct it to category where they are codes"
    return "number", f"all values are numbers{limits}"


def _kind_of_text(there: list[str], kinds: int) -> tuple[Kind, str]:
    words = float(np.mean([len(text.split()) for text in there]))
    if words > WORDS and kinds > FEW // 2:
        return "text", f"{words:.0f} words a value; sentences are not learned from"
    if kinds <= FEW or kinds <= len(there) // 10:
        return "category", f"{kinds} different values"
    return "name", f"{kinds} different values in {len(there)} rows, as names and ids have"


def refuse_text(name: str, values: np.ndarray) -> None:
    """Raise CohortError where a categorical column holds sentences."""
    there = [value for value in values if value is not None]
    kind, why = _kind_of_text(there, len(set(there))) if there else ("empty", "")
    if kind == "text":
        raise CohortError(
            f"The categorical column {name!r} holds text ({why}): each sentence would be a category of its own. Take from it "
            "what matters as columns of their own, such as whether a word is in it, and leave the text out."
        )
