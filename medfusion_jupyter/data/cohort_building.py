"""How a table becomes a cohort: its columns are read by their roles, and the files of its images are found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medfusion_jupyter.data import image_columns, tables
from medfusion_jupyter.data.boxes import BoxColumns, cells_of, columns_of, from_cells, from_sides, refuse_outside
from medfusion_jupyter.data.cohort_columns import (
    listed,
    refuse_rows_without_patient,
    refuse_unfit_columns,
    warn_of_empty_columns,
)
from medfusion_jupyter.data.column_types import refuse_text
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.image_columns import ImageColumns
from medfusion_jupyter.data.image_files import find_images
from medfusion_jupyter.data.readers.medical_image import ends_of
from medfusion_jupyter.data.target_of import target_of
from medfusion_jupyter.data.targets import Target
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing, TablePreprocessing

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort


def build(
    cohort: Cohort,
    table: str | os.PathLike[str] | pd.DataFrame,
    *,
    target: str | Sequence[str] | Mapping[str, Any] | Target,
    image: ImageColumns = None,
    image_root: str | os.PathLike[str] | None = None,
    patient: str | None = None,
    numeric: Sequence[str] | None = None,
    categorical: Sequence[str] | None = None,
    bag: bool | str = False,
    window: str | Sequence[float] | None = None,
    mask: str | None = None,
    boxes: BoxColumns = None,
    image_preprocessing: Mapping[str, Any] | None = None,
    table_preprocessing: Mapping[str, Any] | None = None,
    target_required: bool,
) -> None:
    """Fill an empty cohort, as of `Cohort` and `Cohort.from_roles`. Raises CohortError."""
    cohort.target = target_of(target)
    cohort._target = None
    cohort.image = image_columns.as_written(image)
    cohort.views = image_columns.views_of(image)
    cohort.bag = bag
    cohort.window = None if window is None else ends_of(window)
    cohort.mask = mask
    columns_of(boxes)  # refuses what names none
    cohort.boxes = boxes if boxes is None or isinstance(boxes, str) else list(boxes)
    cohort.image_preprocessing = ImagePreprocessing.model_validate(image_preprocessing or {})
    cohort.table_preprocessing = TablePreprocessing.model_validate(table_preprocessing or {})
    cohort.patient = patient
    cohort.numeric = listed(numeric, "numeric")
    cohort.categorical = listed(categorical, "categorical")
    cohort.name = None
    cohort.best_auroc = None
    cohort.best_c_index = None
    of_images = [*cohort.views.values(), *(c for c in (patient, bag, mask, boxes) if isinstance(c, str))]
    as_text = {*cohort.target.text_columns, *cohort.categorical, *of_images}
    folder = _read_table(cohort, table, as_text)
    refuse_unfit_columns(cohort, image_root=image_root, target_required=target_required)
    if not len(cohort.frame):
        raise CohortError("The table has column names but no rows.")
    if isinstance(bag, str):
        of_row = [*cohort.target.columns, *([] if patient is None else [patient]), *cohort.numeric, *cohort.categorical]
        cohort.frame = image_columns.rows_as_bags(cohort.frame, bag, list(cohort.views.values()), of_row)
    used = [column for column in (patient, bag, mask) if isinstance(column, str) and column in cohort.frame]
    cohort._names = {column: tables.names(cohort.frame[column]) for column in [*used, *cohort.categorical]}
    for column in cohort.views.values():
        cohort._names[column] = image_columns.cells_of(cohort.frame[column], bags=bool(bag))
    cohort._numbers = {column: tables.numbers(cohort.frame[column], column) for column in cohort.numeric}
    cohort.units = {column: tables.unit_of(cohort.frame[column], column) for column in cohort.numeric}
    if target_required:
        for column in cohort.categorical:
            refuse_text(column, cohort._names[column])
    warn_of_empty_columns(cohort)
    if target_required:
        cohort.target, cohort._target = cohort.target.read(cohort.frame)
    if patient in cohort._names:
        refuse_rows_without_patient(cohort)
    cohort.image_root = None
    cohort.images = np.full((0, len(cohort.frame), 1), None, dtype=object)
    if cohort.views:
        cohort.image_root = Path(folder if image_root is None else image_root).expanduser().absolute()
        cohort.images = image_columns.find(
            cohort.views, cohort._names, cohort.image_root, bags=bool(bag), required=target_required
        )
    _find_marks(cohort)
    if cohort.window is not None and target_required:
        image_columns.refuse_window(cohort.window, cohort.image_paths)


def _read_table(cohort: Cohort, table: str | os.PathLike[str] | pd.DataFrame, as_text: set[str]) -> Path:
    """Take or read the table; the folder that paths in it are relative to. as_text: columns whose values are names."""
    if isinstance(table, pd.DataFrame):
        cohort.frame = table.copy()
        tables.refuse_repeated(list(cohort.frame.columns), "The DataFrame")
        return Path.cwd()
    path = Path(table).expanduser()
    cohort.frame = tables.read_csv(path, as_text)
    cohort.name = path.stem
    return path.parent


def _find_marks(cohort: Cohort) -> None:
    """What was marked in the images: masks, or boxes, which must lie within their images."""
    cohort.mask_paths = [None] * len(cohort.frame)
    if cohort.mask in cohort._names and cohort.image_root is not None:
        cohort.mask_paths = find_images(cohort.image_root, list(cohort._names[cohort.mask]), cohort.mask)
    cohort.box_places = [np.empty((0, 4))] * len(cohort.frame)
    columns = columns_of(cohort.boxes)
    if not columns or not set(columns) <= set(cohort.frame.columns):
        return
    if len(columns) == 1:
        cohort._names[columns[0]] = cells_of(cohort.frame[columns[0]])
        cohort.box_places = from_cells(cohort._names[columns[0]], columns[0])
    else:
        cohort._numbers |= {column: tables.numbers(cohort.frame[column], column) for column in columns}
        cohort.box_places = from_sides(np.stack([cohort._numbers[column] for column in columns], axis=1), columns)
    refuse_outside(cohort.box_places, cohort.image_paths, ", ".join(map(repr, columns)))
