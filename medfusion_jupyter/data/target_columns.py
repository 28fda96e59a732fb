"""Reading the columns of a target, where nothing may be missing or unclear that a model learns: or an error that names it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.errors import CohortError

YES, NO = {"1", "1.0", "yes", "y", "true", "positive"}, {"0", "0.0", "no", "n", "false", "negative"}


def names_of(frame: pd.DataFrame, column: str, what: str) -> NDArray[np.object_]:
    """Values as text, `(N,)`; none is missing. what: what every row needs, such as `a class`."""
    names = tables.names(frame[column])
    missing = np.asarray([name is None for name in names])
    refuse_missing(missing, column, f"target: every row needs {what}", len(frame))
    return names


def codes_of(names: NDArray[np.object_], classes: Sequence[str]) -> NDArray[np.int64]:
    """The place of each name in `classes`, `(N,)`."""
    code_of = {name: code for code, name in enumerate(classes)}
    return np.asarray([code_of[name] for name in names], dtype=np.int64)


def finite_numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Values as numbers, `(N,)`; none is missing, infinite or beyond a detection limit."""
    values = tables.numbers(frame[column], column)
    refuse_missing(np.isnan(values), column, "target: every row needs a number", len(frame))
    beyond = int(np.isinf(values).sum())
    if beyond:
        raise CohortError(
            f"The target {column!r} is infinite, or beyond a limit as in '<0.5', in {beyond} of {len(frame)} rows: a target "
            "must be known. Leave those rows out, or give classes."
        )
    return values


def yes_or_no(column: pd.Series, name: str) -> NDArray[np.float64]:
    """1, 0 and NaN where missing."""
    out = np.full(len(column), np.nan)
    for row, text in enumerate(tables.names(column)):
        if text is None:
            continue
        word = str(text).lower()
        if word not in YES and word not in NO:
            raise CohortError(
                f"The column {name!r} has the value {text!r} (row {row}, from 0); it must be 0 or 1, yes or no, true or "
                "false, or empty where it is not known."
            )
        out[row] = float(word in YES)
    return out


def refuse_missing(missing: NDArray[np.bool_], column: str, meaning: str, rows: int) -> None:
    """Raise CohortError where any of `missing` `(N,)` is."""
    if missing.any():
        raise CohortError(
            f"The column {column!r} is empty in {int(missing.sum())} of {rows} rows. It is the {meaning}, or leave those rows "
            f"out: frame[frame[{column!r}].notna()]."
        )


def is_number(text: str) -> bool:
    """Whether a name is one."""
    try:
        float(text)
    except ValueError:
        return False
    return True
