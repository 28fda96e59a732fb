"""Dates as what a model can use: days since another date."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medfusion_jupyter.data.errors import CohortError, closest


def days_since(table: pd.DataFrame, reference: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The table with days since the date in column `reference` in place of dates.

    columns: those to change, by default all other columns of dates; each becomes `<name>_offset`, a number of days with
    fractions, below 0 where it was earlier, missing where either date is. The reference itself is left out: a calendar date
    tells who and when, which a model would learn by heart. Dates are datetimes, or text as `2026-11-24` or
    `2026-11-24 08:30`. Raises CohortError for values that are no dates. Do the same to a table that you predict for.
    """
    given = list(columns) if columns is not None else [c for c in table.columns if c != reference and is_date(table[c])]
    for column in (reference, *given):
        if column not in table.columns:
            raise CohortError(f"There is no column {column!r}.{closest(str(column), map(str, table.columns))}")
    start = _dates(table[reference], reference)
    changed = table.drop(columns=reference)
    for column in given:
        days = (_dates(table[column], column) - start).dt.total_seconds() / 86400
        place = list(changed.columns).index(column)
        changed = changed.drop(columns=column)
        changed.insert(place, f"{column}_offset", days.to_numpy(dtype=np.float64))
    return changed


def is_date(column: pd.Series) -> bool:
    """Whether all values that are there are dates."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    there = column.dropna()
    if not len(there) or not (pd.api.types.is_object_dtype(there) or pd.api.types.is_string_dtype(there)):
        return False
    return bool(
        pd.to_datetime(there.astype(str), errors="coerce", format="ISO8601", utc=True).notna().all()
    ) and not bool(pd.to_numeric(there, errors="coerce").notna().any())


def _dates(column: pd.Series, name: str) -> pd.Series:
    # one clock for all: a table may have some times with a zone and some without
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = pd.to_datetime(column, utc=True)
    else:
        dates = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    bad = column[dates.isna() & column.notna()]
    if len(bad):
        raise CohortError(
            f"The column {name!r} has {len(bad)} values that are no dates, such as {str(bad.iloc[0])[:40]!r}. Write them as "
            "2026-11-24, or convert them by pandas.to_datetime with their format."
        )
    return dates
