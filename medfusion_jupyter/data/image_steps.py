"""What an image goes through between its window and the pixel cache: crop, CLAHE, resize."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort

Planes = NDArray[np.float32]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the width and height."""

AS_IT_IS = ImagePreprocessing()

LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)
"""Shares of red, green and blue in grey (ITU-R BT.601), as Pillow takes them."""

BLACK = 0.05
"""What is brighter than the darkest by at most so much, of 0 to 1, is background: air is not black in a window for lungs."""
FEW = 0.01
"""A row, column or slice with at most this share of bright pixels is background."""
TILES = 8
LEAST_BINS, BINS, DEEP_BINS = 16, 256, 4096
"""Bins of CLAHE's histograms: at most as many as 8 bit have, or the 12 bit of radiographs and CT."""
PIXELS_A_BIN = 8
"""So many pixels of a tile fall into a bin on average: with fewer the limit of the contrast would be the same for all."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of red, green and blue, as torchvision's weights expect them."""


def refuse_unfit(preprocessing: ImagePreprocessing, cohort: Cohort) -> None:
    """Raise CohortError for steps that the cohort's images cannot go through, and where a library for them is missing."""
    if preprocessing == AS_IT_IS:
        return
    if not cohort.views:
        raise CohortError("The cohort has no image column: there are no images to preprocess.")
    if preprocessing.clahe is not None:
        _equalize_adapthist()
    if cohort.dimensions != 3:
        return
    for setting, value, instead in (
        ("clahe", preprocessing.clahe, "leave it out, or take a narrower window"),
        ("resize", preprocessing.resize if preprocessing.resize == "pad" else None, "spacing keeps a volume's proportions"),
        ("crop", preprocessing.crop if isinstance(preprocessing.crop, tuple) else None, "crop='foreground' or a share"),
        ("normalise", preprocessing.normalise if preprocessing.normalise == "imagenet" else None, "'training' or 'image'"),
    ):  # fmt: skip
        if value is not None:
            raise CohortError(f"{setting}={value!r} is of flat images, and those of the cohort are volumes: {instead}.")


def crop_of(planes: Planes, crop: str | float | Box | None) -> tuple[slice, ...]:
    """Which part of each spatial axis of `(C, *spatial)` is kept."""
    sides = planes.shape[1:]
    if crop is None:
        return tuple(slice(0, side) for side in sides)
    if crop == "foreground":
        brightest = planes.max(axis=0)
        bright = brightest > brightest.min() + BLACK
        return tuple(_bright_part(bright, axis) for axis in range(bright.ndim))
    if isinstance(crop, tuple):
        left, top, right, bottom = crop
        ends: Sequence[tuple[float, float]] = ((top, bottom), (left, right))
    else:
        assert isinstance(crop, float | int)
        ends = [((1 - crop) / 2, (1 + crop) / 2)] * len(sides)
    return tuple(_part(side, *between) for side, between in zip(sides, ends, strict=True))


def box_of(planes: Planes, crop: str | float | Box | None) -> Box:
    """The part of `(C, H, W)` that is kept, for another picture of the same place."""
    rows, columns = crop_of(planes, crop)
    height, width = planes.shape[1:]
    return columns.start / width, rows.start / height, columns.stop / width, rows.stop / height


def equalised(planes: Planes, limit: float, *, deep: bool) -> Planes:
    """`(C, H, W)` from 0 to 1 after CLAHE; of colours the brightness is equalised, and the colours stay."""
    if len(planes) == 3:
        bright = (planes * LUMA[:, None, None]).sum(axis=0)
        changed: Planes = (planes + (_equalised(bright, limit, deep) - bright)).clip(0, 1)
        return changed
    return np.stack([_equalised(plane, limit, deep) for plane in planes])


def resized(planes: Planes, size: int, how: str) -> Planes:
    """`(C, H, W)` -> `(C, size, size)`: stretched, or with black beside it where `how` is pad."""
    (high, top), (wide, left) = scaled_to(planes.shape[1:], size, how)
    out = np.zeros((len(planes), size, size), np.float32)
    for k, plane in enumerate(planes):
        small = Image.fromarray(np.ascontiguousarray(plane)).resize((wide, high), Image.Resampling.BILINEAR)
        out[k, top : top + high, left : left + wide] = np.asarray(small)
    return out


def scaled_to(sides: Sequence[float], size: int, how: str) -> list[tuple[int, int]]:
    """Of each of the sides (height, width) how long it is in an image of `size`, and where it begins there."""
    longest = max(sides) if how == "pad" else 0
    scaled = [max(1, round(side * size / longest)) if longest else size for side in sides]
    return [(side, (size - side) // 2) for side in scaled]


def mean_and_std_of(
    preprocessing: ImagePreprocessing, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Those that an image is normalised by, of each channel, where they are known beforehand; none (`()`) where they are each
    image's own; None where the training part says."""
    how = preprocessing.normalise
    if how == "training":
        return None
    if how == "image":
        return (), ()
    if how == "imagenet":
        if channels == 3:
            return IMAGENET
        mean, std = (sum(of_colours) / 3 for of_colours in IMAGENET)
        return (mean,) * channels, (std,) * channels
    return (how[0],) * channels, (how[1],) * channels


def _part(side: int, start: float, end: float) -> slice:
    first = min(int(start * side + 0.5), side - 1)
    return slice(first, max(first + 1, int(end * side + 0.5)))


def _bright_part(bright: NDArray[np.bool_], axis: int) -> slice:
    others = tuple(one for one in range(bright.ndim) if one != axis)
    kept = np.flatnonzero(bright.mean(axis=others) > FEW)
    return slice(int(kept[0]), int(kept[-1]) + 1) if len(kept) else slice(0, bright.shape[axis])


def _equalised(plane: Planes, limit: float, deep: bool) -> Planes:
    low, high = float(plane.min()), float(plane.max())
    if high <= low:
        return plane
    tiles = [-(-side // TILES) for side in plane.shape]
    bins = min(DEEP_BINS if deep else BINS, max(LEAST_BINS, math.prod(tiles) // PIXELS_A_BIN))
    found = _equalize_adapthist()(plane, kernel_size=tiles, clip_limit=limit / bins, nbins=bins)
    equal: Planes = np.asarray(found, np.float32)
    return equal


def _equalize_adapthist() -> Callable[..., NDArray[np.floating]]:
    try:
        from skimage.exposure import equalize_adapthist
    except ImportError:
        raise CohortError(
            "clahe needs scikit-image, which is not installed: pip install 'medfusion-jupyter[clahe]', or leave clahe out."
        ) from None
    found: Callable[..., NDArray[np.floating]] = equalize_adapthist
    return found
