"""TIFF files that Pillow does not read right: pages that are channels or slices, as the file says, and samples of 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.readers.arrays import MOST_CHANNELS, window_of
from medfusion_jupyter.data.readers.medical_image import ImageError, MedicalImage
from medfusion_jupyter.data.readers.registry import Plane

CHANNELS = "CS"
"""Letters of axes that hold channels: channels, and samples such as red, green and blue."""


class _Pages(NamedTuple):
    """axes: a letter an axis of `shape`, without those of length 1."""

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def side(self, letters: str) -> int:
        return next((side for axis, side in zip(self.axes, self.shape, strict=True) if axis in letters), 1)


def read(path: Path) -> MedicalImage:
    """`(C, H, W)` or `(C, D, H, W)`, slices in the order of the file."""
    pages = _pages(path)
    try:
        import tifffile

        stored: NDArray[Any] = tifffile.imread(path, series=0)
    except Exception as error:  # tifffile raises what a decoder met
        raise ImageError(
            f"The pages of {path.name} cannot be read: {error}. Copy it anew from where it came; for a compression that is "
            "missing: pip install imagecodecs."
        ) from error
    stored = stored.reshape(pages.shape)
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise ImageError(f"{path.name} has values that are no numbers (NaN or inf).")
    order = [pages.axes.index(axis) for axis in (*CHANNELS, *"ZYX") if axis in pages.axes]
    values = np.ascontiguousarray(stored.transpose(order), dtype=np.float32)
    values = values if pages.side(CHANNELS) > 1 else values[None]
    return MedicalImage(values, None, None, "stored", window_of(stored, values), "TIFF")


def is_volume(path: Path) -> bool:
    """Whether the pages, or some of them, are slices."""
    return "Z" in _pages(path).axes


def channels(path: Path) -> int:
    """How many values each place has."""
    return _pages(path).side(CHANNELS)


def plane(path: Path) -> Plane:
    """The header of pages that are channels."""
    pages = _pages(path)
    if "Z" in pages.axes:
        raise ImageError(
            f"{path.name} is a volume of {pages.side('Z')} slices; a 2D image is needed. Save the slice that matters by itself."
        )
    return Plane((pages.side("Y"), pages.side("X")), pages.side(CHANNELS), pages.dtype != np.uint8, None, "TIFF")


def _pages(path: Path) -> _Pages:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            series, others = file.series[0], len(file.series) - 1
            sides = [
                (axis, side) for axis, side in zip(series.axes, series.shape, strict=True) if side > 1 or axis in "YX"
            ]
            found = _Pages("".join(axis for axis, _ in sides), tuple(side for _, side in sides), np.dtype(series.dtype))
            count = len(file.pages)
    except Exception as error:
        raise ImageError(f"{path.name} is cut short or damaged ({error}). Copy it anew from where it came.") from error
    if others:
        raise ImageError(
            f"{path.name} has {others + 1} images that are not alike. Save the one that matters by itself."
        )
    strange = set(found.axes) - set("ZYX") - set(CHANNELS)
    if strange & set("IQ"):
        raise ImageError(
            f"{path.name} has {count} pages, and does not say whether they are slices or channels. Write it with its axes, "
            "tifffile.imwrite(path, pages, photometric='minisblack', metadata={'axes': 'ZYX'}) for slices, 'CYX' for channels; "
            "or as a NumPy array, (D, H, W) or (H, W, C)."
        )
    if strange or set(CHANNELS) <= set(found.axes) or found.side(CHANNELS) > MOST_CHANNELS:
        raise ImageError(
            f"{path.name} has the axes {found.axes} of {' x '.join(map(str, found.shape))}; an image has Y and X, at most "
            f"{MOST_CHANNELS} channels (C or S) and, as a volume, slices (Z). Save what matters of it by itself."
        )
    return found
