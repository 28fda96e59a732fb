"""A cohort of a folder of DICOM files: what their headers say, beside a table of labels."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.cohort import Cohort
from medfusion_jupyter.data.errors import CohortError, closest
from medfusion_jupyter.data.readers import ImageError

if TYPE_CHECKING:
    from medfusion_jupyter.data.targets import Target

TAGS = (
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyDate",
    "Modality",
    "ViewPosition",
    "PatientSex",
    "Manufacturer",
)
"""What is read of each header, under its keyword; and PatientAge as `PatientAge`, in years."""

_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_dicom_folder(
    folder: str | os.PathLike[str],
    labels: str | os.PathLike[str] | pd.DataFrame,
    *,
    target: str | Sequence[str] | Mapping[str, Any] | Target,
    on: str = "PatientID",
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    bag: bool | str = False,
    window: str | tuple[float, float] | None = None,
) -> Cohort:
    """A cohort of the DICOM files in a folder and those within it, one row a file.

    labels: path of a CSV, or a DataFrame, with the target and other columns. on: the column of `labels`, named as the DICOM
    keyword whose value it has: PatientID, StudyInstanceUID or SeriesInstanceUID. numeric, categorical: columns of `labels` or
    of the headers: PatientAge (in years), PatientSex, Modality, ViewPosition, Manufacturer. target, bag, window: as of
    Cohort, such as bag="StudyInstanceUID" for all images of a study as one row.

    Files that are no DICOM or damaged, and those without a label, are left out with a warning that counts them. Raises
    CohortError where nothing is left, and for labels that name one thing twice.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise CohortError(f"The folder {str(folder)!r} does not exist.")
    ids = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
    if on not in ids:
        raise CohortError(f"on={on!r} is no id of a DICOM header: choose one of {', '.join(ids)}.")
    given = labels if isinstance(labels, pd.DataFrame) else tables.read_csv(Path(labels).expanduser(), {on})
    if on not in given.columns:
        raise CohortError(
            f"The labels have no column {on!r}.{closest(on, map(str, given.columns))} Rename it, or set on=…."
        )
    given = given.assign(**{on: tables.names(given[on])})
    repeated = int(given[on].duplicated().sum())
    if repeated:
        raise CohortError(f"The labels have {repeated} rows whose {on} is in a row before: keep one row for each.")
    headers = _headers(root)
    of_headers = [column for column in headers.columns if column == on or column not in given.columns]
    table = headers[of_headers].merge(given, on=on, how="inner")
    if len(table) < len(headers):
        warnings.warn(
            f"{len(headers) - len(table)} of {len(headers)} DICOM files have no label and are left out.", stacklevel=2
        )
    if not len(table):
        raise CohortError(f"No {on} of the {len(headers)} DICOM files in {root} is in the labels.")
    cohort = Cohort(
        table,
        target=target,
        image="file",
        image_root=root,
        bag=bag,
        window=window,
        patient="PatientID",
        numeric=list(numeric),
        categorical=list(categorical),
    )
    cohort.name = root.name
    return cohort


def _headers(root: Path) -> pd.DataFrame:
    from medfusion_jupyter.data.readers import dicom

    rows, others = [], 0
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name != "DICOMDIR"):
        try:
            header = dicom.open_file(path, pixels=False)
        except ImageError:
            others += 1
            continue
        values = {tag: str(header.get(tag, "") or "").strip() or None for tag in TAGS}
        rows.append(
            {"file": path.relative_to(root).as_posix(), **values, "PatientAge": _years(header.get("PatientAge"))}
        )
    if not rows:
        raise CohortError(f"There is no readable DICOM file in {root} ({others} other files).")
    if others:
        warnings.warn(f"{others} files in {root} are no DICOM, or damaged, and are left out.", stacklevel=4)
    return pd.DataFrame(rows)


def _years(age: Any) -> float | None:
    """The years of an age as DICOM writes it, such as `045Y` or `006M`."""
    found = re.fullmatch(r"(\d{1,3})([YMWD])", str(age or "").strip())
    return int(found[1]) * _YEARS[found[2]] if found else None
