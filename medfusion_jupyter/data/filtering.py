"""Which rows of a cohort to keep, by the values of one column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.errors import CohortError, closest

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort


def rows_where(
    cohort: Cohort,
    column: str,
    *,
    at_least: float | None,
    at_most: float | None,
    one_of: Sequence[str] | None,
    keep_missing: bool,
) -> NDArray[np.int64]:
    """Positions of the rows that `Cohort.filter` keeps."""
    if column not in cohort.frame.columns:
        raise CohortError(f"There is no column {column!r}.{closest(column, map(str, cohort.frame.columns))}")
    if isinstance(one_of, str):
        raise CohortError(f"one_of={one_of!r} must be a list of values: [{one_of!r}].")
    values = cohort.frame[column]
    missing = values.isna().to_numpy()
    keep = ~missing
    if at_least is not None or at_most is not None:
        numbers = tables.numbers(values, column)
        with np.errstate(invalid="ignore"):
            keep &= numbers >= (-np.inf if at_least is None else at_least)
            keep &= numbers <= (np.inf if at_most is None else at_most)
    if one_of is not None:
        wanted = {str(value) for value in one_of}
        keep &= np.asarray([name in wanted for name in tables.names(values)], dtype=bool)
    rows = np.flatnonzero(keep | (missing & keep_missing))
    if not len(rows):
        there = sorted({str(name) for name in tables.names(values) if name is not None})[:5]
        raise CohortError(f"No row of {len(cohort)} is left by {column!r}; its values are such as {', '.join(there)}.")
    return rows
