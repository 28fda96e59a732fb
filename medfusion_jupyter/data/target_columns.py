"""Reading the columns of a target, where nothing may be missing or unclear that a model learns: or an error that names it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.errors import CohortError, rows_in_words

LARGEST = 1e15
"""Numbers beyond it overflow in the float32 that losses are computed in."""

YES, NO = {"1", "1.0", "yes", "y", "true", "positive"}, {"0", "0.0", "no", "n", "false", "negative"}


def names_of(frame: pd.DataFrame, column: str, what: str) -> NDArray[np.object_]:
    """Values as text, `(N,)`; none is missing, nor infinite. what: what every row needs, such as `a class`."""
    names = tables.names(frame[column])
    missing = np.asarray([name is None for name in names])
    refuse_missing(missing, column, f"target: every row needs {what}", len(frame))
    # `inf` may be a word, as of a site; among numbers it is none, and `nan` never
    numeric = all(is_number(name) for name in set(names))
    rows = [
        row for row, name in enumerate(names) if name.lower() == "nan" or (numeric and not np.isfinite(float(name)))
    ]
    if rows:
        raise CohortError(
            f"The target {column!r} is {names[rows[0]]!r} in {len(rows)} of {len(names)} rows ({rows_in_words(rows)}), and every "
            f"row needs {what}. Leave those rows out, or write what they are."
        )
    return names


def codes_of(names: NDArray[np.object_], classes: Sequence[str]) -> NDArray[np.int64]:
    """The place of each name in `classes`, `(N,)`."""
    code_of = {name: code for code, name in enumerate(classes)}
    return np.asarray([code_of[name] for name in names], dtype=np.int64)


def finite_numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Values as numbers, `(N,)`; none is missing, infinite or beyond a detection limit."""
    values = tables.numbers(frame[column], column)
    refuse_missing(np.isnan(values), column, "target: every row needs a number", len(frame))
    beyond = np.flatnonzero(np.isinf(values)).tolist()
    if beyond:
        raise CohortError(
            f"The target {column!r} is infinite, or beyond a limit as in '<0.5', in {len(beyond)} of {len(frame)} rows "
            f"({rows_in_words(beyond)}): a target must be known. Leave those rows out, or give classes."
        )
    huge = np.flatnonzero(np.abs(values) > LARGEST).tolist()
    if huge:
        raise CohortError(
            f"The target {column!r} is {values[huge[0]]:g} in row {huge[0]}, from 0; {LARGEST:g} at most can be learned. Correct "
            "it, or give the column in a larger unit."
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
            f"The column {column!r} is empty in {int(missing.sum())} of {rows} rows "
            f"({rows_in_words(np.flatnonzero(missing).tolist())}). It is the {meaning}, or leave those rows out: "
            f"frame[frame[{column!r}].notna()]."
        )


def is_number(text: str) -> bool:
    """Whether a name is one."""
    try:
        float(text)
    except ValueError:
        return False
    return True
