"""NumPy arrays in `.npy` and `.npz` files: `(H, W)` grey, `(H, W, C)` C channels, 3 being colours, `(D, H, W)` a volume."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.readers.medical_image import ImageError, MedicalImage, range_of
from medfusion_jupyter.data.readers.registry import Plane

MOST_CHANNELS = 16
"""A third axis that is no longer, and shorter than the two before it, holds channels; else the array is a volume."""


def read(path: Path) -> MedicalImage:
    """Integers of 8 or 16 bits go from 0 to their largest, floats from 0 to 1; others between their outer half percents."""
    array = _array(path)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError(
            f"{path.name} has {int((~np.isfinite(array)).sum()):,} values that are no numbers (NaN or inf)."
        )
    values = array.astype(np.float32)
    values = np.moveaxis(values, -1, 0) if array.ndim == 3 and not _is_volume(array) else values[None]
    return MedicalImage(values, None, None, "stored", window_of(array, values), "NumPy")


def is_volume(path: Path) -> bool:
    """Whether it is `(D, H, W)`."""
    return _is_volume(_array(path))


def plane(path: Path) -> Plane:
    """The shape and type of a 2D array."""
    array = _array(path)
    if _is_volume(array):
        raise ImageError(
            f"{path.name} has the shape {array.shape}, a volume; a 2D image is (H, W), or (H, W, C) of at most "
            f"{MOST_CHANNELS} channels. Save the slice that matters."
        )
    channels = 1 if array.ndim == 2 else array.shape[2]
    return Plane((array.shape[0], array.shape[1]), channels, array.dtype != np.uint8, None, "NumPy")


def channels(path: Path) -> int:
    """How many values each place has: one of a volume."""
    return 1 if is_volume(path) else plane(path).channels


def window_of(array: NDArray[Any], values: NDArray[np.float32]) -> tuple[float, float]:
    """Black and white by the type of what is stored, and by its values as floats."""
    if array.dtype == bool:
        return 0.0, 1.0
    if array.dtype in (np.uint8, np.uint16):
        return 0.0, float(np.iinfo(array.dtype).max)
    if values.min() >= 0 and values.max() <= 1:
        return 0.0, 1.0
    return range_of(values)


def _array(path: Path) -> NDArray[Any]:
    try:
        # never unpickled: an array of objects is refused
        loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded as file:
                if len(file.files) != 1:
                    raise ImageError(
                        f"{path.name} holds {len(file.files)} arrays ({', '.join(file.files[:5])}); an image is a file with one. "
                        "MedMNIST's files are read by mf.read_medmnist(path)."
                    )
                loaded = file[file.files[0]]
    except ImageError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ImageError(
            f"{path.name} is not a NumPy array that is whole: {error}. Write it anew with numpy.save."
        ) from error
    array: NDArray[Any] = np.asarray(loaded)
    if array.ndim not in (2, 3) or array.dtype.kind not in "buif" or 0 in array.shape:
        raise ImageError(
            f"{path.name} has the shape {array.shape} of {array.dtype}; an image is numbers of shape (H, W), "
            "(H, W, C) or (D, H, W)."
        )
    return array


def _is_volume(array: NDArray[Any]) -> bool:
    if array.ndim == 2 or array.shape[2] == 3:
        return False
    last: int = array.shape[2]
    return last > MOST_CHANNELS or last >= min(array.shape[:2])
