"""Numbers that are written with their unit, and units in the names of columns."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data.errors import CohortError

NUMBER = r"[-+]?(?:\d+(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?"

VALUE = re.compile(
    rf"\s*(?P<beyond>[<>])?\s*=?\s*(?P<number>{NUMBER})\s*(?P<unit>[A-Za-zµμ°%][^\s\d]*(?:\^?\d+)?(?:/\S+)?)?\s*"
)
"""A measured value: `12.5 mg/L`, `<0.5`, `>= 1,000 U/l`, `98 %`."""

IN_NAME = re.compile(r"[\[(]\s*(?P<unit>[^\])]{1,20})\s*[\])]\s*$")
"""`crp [mg/L]`, `age (years)`."""

DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d{1,2}\s*|\s*[-+]?\d+,\d{4,}\s*")


def unit_in_name(name: str) -> str | None:
    """The unit that a column's name ends with in brackets."""
    found = IN_NAME.search(name)
    return found["unit"].strip() if found else None


def same_unit(one: str, other: str) -> bool:
    """Whether two units are written alike, whatever the case and the sign of micro."""
    micro = str.maketrans({"μ": "u", "µ": "u"})
    return one.translate(micro).casefold().replace(" ", "") == other.translate(micro).casefold().replace(" ", "")


def measured(column: pd.Series, name: str) -> tuple[NDArray[np.float64], str | None]:
    """Values of a column of text and the unit they are written with; NaN where missing, -inf and inf beyond a detection limit.

    Raises CohortError, naming the values, where some are no numbers, are written with a decimal comma, or have several units.
    """
    values = np.full(len(column), np.nan)
    units: Counter[str] = Counter()
    bad: list[str] = []
    for row, value in enumerate(column.tolist()):
        if value is None or value is pd.NA or value != value:
            continue
        if isinstance(value, (int, float, np.number)):
            values[row] = float(value)
            continue
        text = str(value)
        if not text.strip():
            continue
        number = _number(text)
        if number is not None:
            values[row] = number
            continue
        found = VALUE.fullmatch(text)
        if found is None or not found["number"] or DECIMAL_COMMA.fullmatch(text):
            bad.append(text)
            continue
        beyond = found["beyond"]
        amount = float(found["number"].replace(",", ""))
        values[row] = amount if beyond is None else -np.inf if beyond == "<" else np.inf
        if found["unit"] is not None:
            units[found["unit"]] += 1
    if bad:
        raise CohortError(_refusal(name, bad))
    if len(units) > 1:
        raise CohortError(
            f"The numeric column {name!r} has values in several units: "
            f"{', '.join(f'{count} in {unit!r}' for unit, count in units.most_common(5))}. Convert them to one."
        )
    return values, next(iter(units), None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _refusal(name: str, bad: list[str]) -> str:
    shown = ", ".join(repr(text[:40]) for text in sorted(set(bad))[:3])
    if all(DECIMAL_COMMA.fullmatch(text) for text in bad):
        return (
            f"The numeric column {name!r} has {len(bad)} values with a decimal comma, such as {shown}. Read the table with "
            "pandas.read_csv(path, decimal=',') and give the DataFrame."
        )
    if pd.to_datetime(pd.Series(bad), errors="coerce", format="ISO8601").notna().all():
        return (
            f"The numeric column {name!r} holds dates, such as {shown}. What counts is the time between two: "
            "mf.days_since(table, reference) makes days of them."
        )
    return (
        f"The numeric column {name!r} has {len(bad)} values that are no numbers, such as {shown}. Leave a missing value "
        "empty, write one beyond a detection limit as -inf or inf, or list the column under categorical."
    )
