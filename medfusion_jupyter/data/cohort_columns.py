"""Whether the columns that a cohort was given are there, fit their roles and have values."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medfusion_jupyter.data.boxes import columns_of
from medfusion_jupyter.data.errors import CohortError, closest

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort


def listed(columns: Sequence[str] | None, role: str) -> list[str]:
    """The columns of a role as a list. Raises CohortError for one name, whose letters would be taken for columns."""
    if isinstance(columns, str):
        raise CohortError(f"{role}={columns!r} must be a list of columns: [{columns!r}].")
    return list(columns or ())


def refuse_unfit_columns(cohort: Cohort, *, image_root: str | os.PathLike[str] | None, target_required: bool) -> None:
    """Raise CohortError for a column that is not in the table, has two roles, or whose role does not go with the others."""
    there = [str(column) for column in cohort.frame.columns]
    roles: list[tuple[str, str | None]] = [("image", c) for c in cohort.views.values()]
    roles += [("numeric", c) for c in cohort.numeric]
    roles += [("categorical", c) for c in cohort.categorical]
    if target_required:
        roles += [("target", c) for c in cohort.target.columns]
        roles += [("patient", cohort.patient), ("mask", cohort.mask)]
        roles += [("boxes", c) for c in columns_of(cohort.boxes)]
    for role, column in roles:
        if column is not None and column not in cohort.frame.columns:
            raise CohortError(
                f"There is no column {column!r} ({role}).{closest(str(column), there)} The columns are: {', '.join(there)}."
            )
    _refuse_unfit_images(cohort, image_root)
    features = [*cohort.numeric, *cohort.categorical]
    for column in features:
        if column in (
            *cohort.target.columns,
            cohort.patient,
            cohort.mask,
            *columns_of(cohort.boxes),
            *cohort.views.values(),
        ):
            raise CohortError(f"The column {column!r} cannot be learned from: it is the {_role_of(cohort, column)}.")
    twice = sorted({column for column in features if features.count(column) > 1})
    if twice:
        raise CohortError(f"The column {twice[0]!r} is listed twice under numeric and categorical: keep one.")


def refuse_rows_without_patient(cohort: Cohort) -> None:
    """Raise CohortError where a row does not say whose it is."""
    assert cohort.patient is not None
    missing = sum(value is None for value in cohort.names(cohort.patient))
    if missing:
        raise CohortError(
            f"The column {cohort.patient!r} is empty in {missing} of {len(cohort)} rows. It is the patient: give each row the "
            f"id of its patient, or leave those rows out: frame[frame[{cohort.patient!r}].notna()]."
        )


def warn_of_empty_columns(cohort: Cohort) -> None:
    """Name the columns to learn from that have no value at all."""
    empty = [name for name in cohort.numeric if not np.isfinite(cohort.numbers(name)).any()]
    empty += [name for name in cohort.categorical if all(value is None for value in cohort.names(name))]
    if empty and len(cohort) > 1:
        warnings.warn(f"Columns without any value, not learned from: {', '.join(empty)}.", stacklevel=4)


def _refuse_unfit_images(cohort: Cohort, image_root: str | os.PathLike[str] | None) -> None:
    """What is of images, and does not go with those of this cohort, or with a cohort without any."""
    bag, marks = cohort.bag, {"mask": cohort.mask, "boxes": cohort.boxes}
    of_images = {"image_root": image_root, "bag": bag or None, "window": cohort.window, **marks}
    for name, value in of_images.items():
        if value is not None and not cohort.views:
            raise CohortError(
                f"{name}={value!r} is of images, and the cohort has no image column: give image='column', or leave {name} out."
            )
    if None not in marks.values():
        raise CohortError(
            f"mask={cohort.mask!r} and boxes={cohort.boxes!r} are two ways to say what was marked: keep one."
        )
    name, mark = next(((name, mark) for name, mark in marks.items() if mark is not None), ("", None))
    if mark is not None and (len(cohort.views) > 1 or bag is not False):
        raise CohortError(f"{name}={mark!r} is of cohorts with one image a row: give one image column, without bag.")


def _role_of(cohort: Cohort, column: str) -> str:
    if column in cohort.target.columns:
        return "target"
    if column in columns_of(cohort.boxes):
        return "box of the image"
    return {cohort.patient: "patient column", cohort.mask: "mask"}.get(column, "image column")
