"""A folder of DICOM files as a volume: one series, in the order of the slices' positions, in the canonical orientation."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.readers import dicom
from medfusion_jupyter.data.readers.geometry import canonical, spacing_of_affine
from medfusion_jupyter.data.readers.medical_image import ImageError, MedicalImage

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

TOLERANCE = 0.02
"""Gaps between slices may differ by this share of the median gap: files round positions."""


def read_series(folder: Path) -> MedicalImage:
    """The volume of a folder's DICOM files. Raises ImageError where they are not the slices of one volume."""
    slices = _one_series(folder)
    positions = [_position(name, file) for name, file in slices]
    for what, of in (
        ("size", lambda file: (int(file.Rows), int(file.Columns))),
        ("pixel spacing", lambda file: _rounded(dicom.spacing_of(file), 4)),
        ("orientation", lambda file: _rounded(file.get("ImageOrientationPatient"), 3)),
    ):
        kinds = Counter(of(file) for _, file in slices)
        if len(kinds) > 1:
            raise ImageError(
                f"The slices in {folder.name} are of more than one {what}: "
                f"{'; '.join(f'{_shown(kind)} ({count} files)' for kind, count in kinds.most_common(3))}. Keep the files of one "
                "volume in the folder; a scout image is often among them."
            )
    across, down = _orientation(slices[0])
    normal = np.cross(across, down)
    along = np.asarray([position @ normal for position in positions])
    order = np.argsort(along, kind="stable")
    gap = _gap(folder, along[order])
    images = [dicom.image_of(*slices[k]) for k in order]
    within = dicom.spacing_of(slices[0][1])
    if within is None:
        raise ImageError(f"The slices in {folder.name} do not say how far apart their pixels are (PixelSpacing).")
    # from (slice, row, column) to mm: rows follow one another downwards, columns across; DICOM's frame is LPS
    affine = np.eye(4)
    affine[:3, :3] = np.stack([normal * gap, down * within[0], across * within[1]], axis=1)
    affine[:3, 3] = positions[order[0]]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    pixels, affine = canonical(np.stack([image.pixels for image in images], axis=1), affine)
    windows = {image.window for image in images}
    window = windows.pop() if len(windows) == 1 else _common_window(images)
    first = images[0]
    return MedicalImage(pixels, spacing_of_affine(affine), affine, first.unit, window, f"{first.kind} series")


def _one_series(folder: Path) -> list[tuple[str, FileDataset]]:
    """The slices, each with the name that errors call it by."""
    series: dict[str, list[tuple[str, FileDataset]]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.name.upper() != "DICOMDIR" and _is_dicom(path):
            name = f"{folder.name}/{path.name}"
            file = dicom.open_file(path, name=name)
            if "Rows" in file:
                series[str(file.get("SeriesInstanceUID", ""))].append((name, file))
            elif dicom.is_of_image(file):
                raise dicom.without_image(name, file)
    if not series:
        raise ImageError(f"There is no DICOM image in the folder {folder.name}.")
    if len(series) > 1:
        kinds = [
            f"{files[0][1].get('SeriesDescription', 'without description')!r} ({len(files)} files, number "
            f"{files[0][1].get('SeriesNumber', 'unknown')})"
            for files in series.values()
        ]
        raise ImageError(
            f"The folder {folder.name} holds {len(series)} series: {'; '.join(kinds[:5])}. Keep each in a folder of its own."
        )
    return next(iter(series.values()))


def _is_dicom(path: Path) -> bool:
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(132)
    # a copy that failed leaves a file of no bytes: a slice all the same
    return suffix in (".dcm", ".dicom", ".ima") or head[128:] == b"DICM" or not (head or suffix)


def _position(name: str, file: FileDataset) -> NDArray[np.float64]:
    value = file.get("ImagePositionPatient")
    if value is None or len(value) != 3:
        raise ImageError(f"{name} does not say where its slice lies (ImagePositionPatient), so the order is not known.")
    return np.asarray(value, dtype=np.float64)


def _orientation(one: tuple[str, FileDataset]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    name, file = one
    value = file.get("ImageOrientationPatient")
    if value is None or len(value) != 6:
        raise ImageError(f"{name} does not say how its slice lies (ImageOrientationPatient).")
    return np.asarray(value[:3], dtype=np.float64), np.asarray(value[3:], dtype=np.float64)


def _gap(folder: Path, along: NDArray[np.float64]) -> float:
    """mm between slices. Raises ImageError where they overlap or a slice is missing."""
    if len(along) == 1:
        raise ImageError(f"The folder {folder.name} holds one slice only: name the file instead.")
    gaps = np.diff(along)
    median = float(np.median(gaps))
    if gaps.min() < 1e-3:
        raise ImageError(
            f"{int((gaps < 1e-3).sum())} slices in {folder.name} lie where another lies: several phases or echoes in one series. "
            "Keep those of one in the folder."
        )
    off = np.flatnonzero(np.abs(gaps - median) > TOLERANCE * median)
    if len(off):
        raise ImageError(
            f"The slices in {folder.name} are {median:.3g} mm apart, but {gaps[off[0]]:.3g} mm after slice {off[0] + 1} of "
            f"{len(along)}"
            + (f" and in {len(off) - 1} other places" if len(off) > 1 else "")
            + ": a slice is missing, or the series has mixed spacing. Copy the series anew, or take one of even spacing."
        )
    return median


def _common_window(images: list[MedicalImage]) -> tuple[float, float]:
    if images[0].unit == "HU":
        return dicom.CT_RANGE
    low, high = zip(*(image.window for image in images), strict=True)
    return float(min(low)), float(max(high))


def _rounded(values: object, digits: int) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(float(value), digits) for value in values)  # type: ignore[attr-defined]


def _shown(kind: object) -> str:
    return "not given" if kind is None else " x ".join(map(str, kind)) if isinstance(kind, tuple) else str(kind)
