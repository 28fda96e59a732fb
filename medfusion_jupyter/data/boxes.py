"""Boxes around what was marked in images: read from the table, and laid over the images of a batch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.image_files import UNREADABLE, Window, header_of, planes_of
from medfusion_jupyter.data.image_steps import box_of, scaled_to
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing

BoxColumns = str | Sequence[str] | None
"""A column whose cells are lists of boxes; or the four columns of the left, top, right and bottom of one box a row."""

Places = NDArray[np.float64]
"""`(K, 4)`: left, top, right and bottom of K boxes."""

FORM = "[[x0, y0, x1, y1], …], in pixels from the left and the top of the image"


def columns_of(boxes: BoxColumns) -> list[str]:
    """The columns that hold boxes: none, one of lists, or four of numbers. Raises CohortError."""
    columns = [boxes] if isinstance(boxes, str) else list(boxes or ())
    if boxes is not None and not isinstance(boxes, str) and (len(columns) != 4 or len(set(columns)) != 4):
        raise CohortError(
            f"boxes={boxes!r} must name four columns, of x0, y0, x1 and y1, or one column whose cells are {FORM}."
        )
    return columns


def cells_of(column: pd.Series) -> NDArray[np.object_]:
    """A column of boxes as text: a list in a cell as JSON, None where a cell is empty."""
    texts = [
        json.dumps(cell.tolist() if isinstance(cell, np.ndarray) else cell, default=float)
        if isinstance(cell, (list, tuple, np.ndarray))
        else cell
        for cell in column
    ]
    return tables.names(pd.Series(texts, dtype=object))


def from_cells(cells: NDArray[np.object_], column: str) -> list[Places]:
    """The boxes of each row, from JSON. Raises CohortError, naming the row, for what is no list of boxes."""
    found = []
    for row, cell in enumerate(cells):
        try:
            listed = json.loads(cell) if cell is not None else []
            one = bool(listed) and not isinstance(listed[0], list)
            places = np.asarray([listed] if one else listed, dtype=np.float64).reshape(-1, 4)
        except (ValueError, TypeError, KeyError):
            raise CohortError(f"The column {column!r} has {cell!r} in row {row}: boxes are {FORM}.") from None
        found.append(_checked(places, row, repr(column)))
    return found


def from_sides(sides: NDArray[np.float64], columns: Sequence[str]) -> list[Places]:
    """The box of each row, from `(N, 4)`; a row whose four numbers are missing has none. Raises CohortError."""
    found = []
    for row, side in enumerate(sides):
        lacking = [column for column, value in zip(columns, side, strict=True) if math.isnan(value)]
        if 0 < len(lacking) < 4:
            raise CohortError(
                f"The box of row {row} has no {lacking[0]!r}: give all four of {', '.join(columns)}, or none where nothing was "
                "marked."
            )
        found.append(_checked(side[None] if not lacking else np.empty((0, 4)), row, ", ".join(map(repr, columns))))
    return found


def refuse_outside(boxes: Sequence[Places], images: Sequence[Path | None], columns: str) -> None:
    """Raise CohortError for a box that does not lie within the image of its row."""
    for row, (places, path) in enumerate(zip(boxes, images, strict=True)):
        if not len(places) or path is None:
            continue
        try:
            height, width = header_of(path).size
        except UNREADABLE:
            continue
        outside = places[(places[:, 2] > width) | (places[:, 3] > height)]
        if len(outside):
            raise CohortError(
                f"The box {_shown(outside[0])} of row {row} ({columns}) reaches beyond its image, which is {width} pixels wide "
                f"and {height} high. Boxes are in pixels of the file as it is, before it is resized."
            )


@dataclass(frozen=True, eq=False)
class MarkedBoxes:
    """Boxes over images of `size` pixels a side. places: of each row of the cohort, in pixels of these images."""

    places: Sequence[Places]
    size: int

    def marked(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`(B, 1, size, size)`: whether a pixel lies in a box, wholly or in part, of those rows."""
        out = np.zeros((len(rows), 1, self.size, self.size), dtype=bool)
        for mask, row in zip(out, rows, strict=True):
            for x0, y0, x1, y1 in self.places[row]:
                mask[0, math.floor(y0) : math.ceil(y1), math.floor(x0) : math.ceil(x1)] = True
        return out


def laid_over(
    boxes: Sequence[Places],
    images: Sequence[Path | None],
    *,
    size: int,
    window: Window,
    preprocessing: ImagePreprocessing,
) -> MarkedBoxes:
    """The boxes where they lie once their images are cropped and resized to `size`; what was cropped away is gone."""
    return MarkedBoxes(
        [
            _moved(places, path, size, window, preprocessing) if len(places) and path is not None else np.empty((0, 4))
            for places, path in zip(boxes, images, strict=True)
        ],
        size,
    )


def _moved(places: Places, path: Path, size: int, window: Window, preprocessing: ImagePreprocessing) -> Places:
    try:
        if preprocessing.crop == "foreground":
            planes = planes_of(path, window)
        else:
            planes = np.broadcast_to(np.float32(0), (1, *header_of(path).size))
    except UNREADABLE:  # which the pixel cache tells
        return np.empty((0, 4))
    height, width = planes.shape[1:]
    left, top, right, bottom = box_of(planes, preprocessing.crop)
    kept = ((bottom - top) * height, (right - left) * width)
    (high, above), (wide, before) = scaled_to(kept, size, preprocessing.resize)
    moved = np.empty_like(places)
    for first, start, side, scaled, offset in ((0, left, width, wide, before), (1, top, height, high, above)):
        share = (places[:, [first, first + 2]] - start * side) / kept[1 - first]
        moved[:, [first, first + 2]] = share.clip(0, 1) * scaled + offset
    within: Places = moved[(moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])]
    return within


def _checked(places: Places, row: int, columns: str) -> Places:
    for box in places:
        x0, y0, x1, y1 = box
        if not np.isfinite(box).all() or x1 <= x0 or y1 <= y0 or x0 < 0 or y0 < 0:
            raise CohortError(
                f"The box {_shown(box)} of row {row} ({columns}) is none: 0 ≤ x0 < x1 and 0 ≤ y0 < y1, in pixels from the left "
                "and the top. Where width and height are given, x1 = x0 + width."
            )
    return places


def _shown(box: Any) -> str:
    return "[" + ", ".join(f"{side:g}" for side in box) + "]"
