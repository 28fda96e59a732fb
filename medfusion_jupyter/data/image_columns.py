"""Which columns of a table name images: one, several views, or bags of several images a row; and where their files are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.errors import CohortError, rows_in_words
from medfusion_jupyter.data.image_files import UNREADABLE, find_images, is_volume, why_unreadable
from medfusion_jupyter.data.readers import reader_of, suffixes

SEPARATOR = ";"
"""Between the images of a bag, where a cell names them as text."""

TABLE = "table"
"""The modality of the table's columns: no view can be named so."""

ImageColumns = str | Sequence[str] | Mapping[str, str] | None
"""A column; or the columns of several views, whose names are those of the columns or the keys."""


def views_of(image: ImageColumns) -> dict[str, str]:
    """The column of each view by the view's name; one column alone is the view `image`. Raises CohortError."""
    if image is None:
        return {}
    if isinstance(image, str):
        return {"image": image}
    views = dict(image) if isinstance(image, Mapping) else {str(column): str(column) for column in image}
    if not views or (not isinstance(image, Mapping) and len(views) < len(image)):
        raise CohortError(f"image={image!r} must name a column, or one or more columns that differ.")
    for name, column in views.items():
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w -]*", name) or name == TABLE:
            raise CohortError(
                f"A view cannot be named {name!r}: letters, digits, _, - and spaces make its name, and {TABLE!r} is that of the "
                f'table. Give it another: image={{"frontal": {column!r}, …}}.'
            )
    twice = [column for column in views.values() if list(views.values()).count(column) > 1]
    if twice:
        raise CohortError(f"The column {twice[0]!r} is that of two views: give each its own.")
    return views


def cells_of(column: pd.Series, *, bags: bool) -> NDArray[np.object_]:
    """The values of an image column as text; a list of paths in a cell as one text with SEPARATOR between them."""
    if not bags:
        return tables.names(column)
    joined = [
        SEPARATOR.join(map(str, cell)) if isinstance(cell, (list, tuple, np.ndarray)) else cell for cell in column
    ]
    return tables.names(pd.Series(joined, dtype=object))


def rows_as_bags(frame: pd.DataFrame, bag: str, images: Sequence[str], used: Sequence[str]) -> pd.DataFrame:
    """One row for each value of the column `bag`, with the images of its rows in one cell a column; elsewhere its first value.

    used: columns that must say the same in all rows of a bag; an empty cell takes the value of the others. Raises CohortError.
    """
    if bag not in frame:
        raise CohortError(f"There is no column {bag!r} (bag). The columns are: {', '.join(map(str, frame.columns))}.")
    ids = tables.names(frame[bag])
    missing = sum(one is None for one in ids)
    if missing:
        raise CohortError(
            f"The column {bag!r} is empty in {missing} of {len(frame)} rows. It is the bag: give each row the id of the study or "
            "patient whose images belong together."
        )
    groups = frame.groupby(ids, sort=False)
    kept = frame.loc[~pd.Series(ids).duplicated().to_numpy()].copy()
    for column in used:
        if column in frame and column not in (bag, *images):
            differing = groups[column].nunique()
            if (differing > 1).any():
                raise CohortError(
                    f"The column {column!r} has more than one value in {int((differing > 1).sum())} of {len(differing)} bags "
                    f"of {bag!r}: a bag is one row. Make one value of them first, such as the mean or the first."
                )
            kept[column] = groups[column].first().to_numpy()
    for image in images:
        cells = pd.Series(cells_of(frame[image], bags=True), index=frame.index)
        kept[image] = cells.groupby(ids, sort=False).agg(lambda names: SEPARATOR.join(names.dropna())).to_numpy()
    return kept


def find(
    views: Mapping[str, str], cells: Mapping[str, NDArray[np.object_]], root: Path, *, bags: bool, required: bool
) -> NDArray[np.object_]:
    """The files of each view, row and place in a bag: `(V, R, N)` of paths, None where there is none; N is 1 without bags.

    A bag's files are in the order of their paths, so that their order in the cell makes no difference. required: raise
    CohortError where a view has no file at all, or none that can be decoded.
    """
    if not root.is_dir():
        raise CohortError(f"The folder image_root={str(root)!r} does not exist.")
    found = []
    for name, column in views.items():  # a comprehension would be a frame more for the warnings' stacklevel
        found.append(_files(name, column, cells[column], root, bags=bags, required=required))
    most = max(1, *(len(row) for of_view in found for row in of_view))
    out: NDArray[np.object_] = np.full((len(found), len(found[0]), most), None, dtype=object)
    for view, of_view in enumerate(found):
        for row, files in enumerate(of_view):
            out[view, row, : len(files)] = files
    return out


def dimensions_of(paths: Sequence[Path | None]) -> int:
    """2 for images and 3 for volumes, by the first file whose header can be read; 2 where there is none."""
    for path in paths:
        if path is not None:
            try:
                return 3 if is_volume(path) else 2
            except UNREADABLE:
                continue
    return 2


def refuse_window(window: tuple[float, float], paths: Sequence[Path | None]) -> None:
    """Raise CohortError where the first file of the images is a picture, which has no Hounsfield units."""
    first = next((path for path in paths if path is not None), None)
    if first is not None and reader_of(first) is None:
        raise CohortError(
            f"window={window} is of CT in Hounsfield units, and {first.name} is a picture, whose window was chosen when it was "
            "saved. Leave the window out, or give the DICOM or NIfTI files."
        )


def _files(
    view: str, column: str, cells: NDArray[np.object_], root: Path, *, bags: bool, required: bool
) -> list[list[Path]]:
    """The files of each row of a view."""
    named: list[list[str]] = [_named(cell) if bags else [] if cell is None else [cell] for cell in cells]
    flat = find_images(root, [name for row in named for name in row], column)
    there = [path for path in flat if path is not None]
    if required and not any(named):
        raise CohortError(
            f"The column {column!r} names no image in any of the {len(cells)} rows{': every bag is empty' if bags else ''}. Give "
            "the paths of the images, or make the cohort without image=."
        )
    if required and not there:
        example = next(name for row in named for name in row)
        raise CohortError(
            f"None of the {len(cells)} images of column {column!r} is in {root}. The first value is {example!r}; files may "
            f"be {', '.join(suffixes())}."
        )
    if required and all(why_unreadable(path) for path in there):
        raise CohortError(
            f"None of the {len(there)} image files in {root} can be decoded. The first: {why_unreadable(there[0])}"
        )
    places = iter(flat)
    files = [sorted(path for path in (next(places) for _ in row) if path is not None) for row in named]
    _warn_of_missing(view, root, named, files, bags=bags)
    return files


def _named(cell: str | None) -> list[str]:
    return [] if cell is None else [name.strip() for name in cell.split(SEPARATOR) if name.strip()]


def _warn_of_missing(view: str, root: Path, named: list[list[str]], files: list[list[Path]], *, bags: bool) -> None:
    what = "image" if view == "image" else f"image {view!r}"
    rows = [row for row, of_row in enumerate(files) if not of_row]
    if rows:
        warnings.warn(
            f"{len(rows)} of {len(files)} rows have no {what} in {root}; they count as without {what} ({rows_in_words(rows)}).",
            stacklevel=6,
        )
    lost = sum(len(row) - len(of_row) for row, of_row in zip(named, files, strict=True) if of_row)
    if bags and lost:
        warnings.warn(
            f"{lost} of {sum(map(len, named))} images of bags are not in {root}; the others of their bags count.",
            stacklevel=6,
        )


def as_written(image: ImageColumns) -> Any:
    """`image` as roles hold it in JSON: the column, or the columns by view."""
    return image if image is None or isinstance(image, str) else views_of(image)
