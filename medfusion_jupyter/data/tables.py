"""Reading a table and its columns: text to names and numbers, or an error that names the column and the value."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.units import measured, unit_in_name


def read_csv(path: Path, as_text: set[str]) -> pd.DataFrame:
    """The table of a UTF-8 CSV. as_text: columns that are names, so that `007` stays `007`."""
    if not path.is_file():
        raise CohortError(f"There is no file {path}. Give the path of a CSV, or a DataFrame.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
        if not any(header):
            raise CohortError(f"{path} is empty: it needs a line of column names and a line for each image or patient.")
        refuse_repeated(header, str(path))
        if len(header) == 1 and (separator := next((s for s in ";\t|" if s in header[0]), None)):
            raise CohortError(
                f"{path} seems to be separated by {separator!r}, not by commas. Read it with "
                f"pandas.read_csv(path, sep={separator!r}) and give the DataFrame."
            )
        text = {column: str for column in header if column in as_text}
        return pd.read_csv(path, encoding="utf-8-sig", dtype=text, low_memory=False)
    except UnicodeDecodeError as error:
        encoding = "utf-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        raise CohortError(
            f"{path} is not UTF-8 (byte {error.object[error.start]:#04x} at position {error.start}). Save it as UTF-8, or "
            f"read it with pandas.read_csv(path, encoding={encoding!r}) and give the DataFrame."
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise CohortError(f"{path} cannot be read as a CSV: {str(error).strip()}.") from None


def refuse_repeated(columns: list[str], where: str) -> None:
    """Raise CohortError where a column name is there twice."""
    repeated = [str(name) for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise CohortError(
            f"{where} has more than one column named {', '.join(map(repr, repeated))}: rename all but one."
        )


def numbers(column: pd.Series, name: str) -> NDArray[np.float64]:
    """Values as float64: NaN where missing, -inf and inf where beyond a detection limit (also written `<0.5`, `>1000`).

    A unit may be written with them (`12 mg/L`), the same in all.
    """
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_datetime64_any_dtype(column):
        raise CohortError(
            f"The numeric column {name!r} holds dates. What counts is the time between two: mf.days_since(table, reference) "
            "makes days of them."
        )
    return measured(column, name)[0]


def unit_of(column: pd.Series, name: str) -> str | None:
    """The unit that the name or the values of a numeric column are written with."""
    of_values = None if pd.api.types.is_numeric_dtype(column) else measured(column, name)[1]
    return unit_in_name(name) or of_values


def names(column: pd.Series) -> NDArray[np.object_]:
    """Values as text, None where missing. 1, 1.0 and `1` are the same name, so a column reads alike with gaps and without."""
    out = np.empty(len(column), dtype=object)
    missing = column.isna().to_numpy()
    for row, value in enumerate(column.tolist()):
        if missing[row]:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = os.fspath(value) if isinstance(value, Path) else str(value).strip()
        out[row] = text or None
    return out


def in_order(values: set[str]) -> tuple[str, ...]:
    """Names sorted as numbers where all of them are, else as text."""
    try:
        return tuple(sorted(values, key=float))
    except ValueError:
        return tuple(sorted(values))
