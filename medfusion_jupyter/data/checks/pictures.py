"""A look into the image files: of each only what the checks need is kept, never the whole picture."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medfusion_jupyter.data.checks.burned_in_text import text_tiles
from medfusion_jupyter.data.checks.perceptual_hash import THUMB, hash_of
from medfusion_jupyter.data.image_files import (
    UNREADABLE,
    Header,
    decode,
    header_of,
    is_volume,
    what_is_wrong,
    without_names,
)
from medfusion_jupyter.data.volumes import middle_slice

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort

VOLUME_COSTS = 20
"""A volume takes about as long to look at as so many images."""

SIDE = 512
"""Pictures are looked at with so many pixels a side at most: letters can still be told."""


@dataclass(frozen=True)
class Look:
    """What was seen in an image: its header, whether it is a volume, the share of its most frequent grey value, a thumbnail
    `(THUMB, THUMB)` and its perceptual hash, and the number of places that look like text."""

    header: Header
    volume: bool
    one_grey: float
    thumb: NDArray[np.float32]
    hash: NDArray[np.float32]
    text: int


@dataclass(frozen=True)
class Pictures:
    """The images that were looked into. rows: positions in the cohort, one for each file; looks: where one cannot be read what is
    wrong with it; files: the number of files of the whole cohort."""

    rows: NDArray[np.int64]
    looks: list[Look | str]
    files: int

    @property
    def readable(self) -> list[tuple[int, Look]]:
        """Row and look of those that could be read."""
        return [(int(row), look) for row, look in zip(self.rows, self.looks, strict=True) if isinstance(look, Look)]

    @property
    def unreadable(self) -> list[tuple[int, str]]:
        """Row of those that could not be read, and why."""
        return [(int(row), look) for row, look in zip(self.rows, self.looks, strict=True) if isinstance(look, str)]


def look_at(cohort: Cohort, most: int, seed: int) -> Pictures:
    """Look into the image files of a cohort, each once, or into `most` of them drawn at random.

    Of a volume the slice in its middle is looked at. It has to be read whole, so fewer are: one for VOLUME_COSTS images.
    """
    row_of: dict[Path, int] = {}
    for row, path in zip(cohort.image_rows.tolist(), cohort.image_paths, strict=True):
        if path is not None:
            row_of.setdefault(path, row)
    files = list(row_of)
    if cohort.dimensions == 3:
        most = max(1, most // VOLUME_COSTS)
    if len(files) > most:
        chosen = np.random.default_rng(seed).choice(len(files), most, replace=False)
        chosen_files = [files[k] for k in np.sort(chosen)]
    else:
        chosen_files = files
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        looks = list(pool.map(_look, chosen_files))
    return Pictures(np.asarray([row_of[path] for path in chosen_files], dtype=np.int64), looks, len(files))


def _look(path: Path) -> Look | str:
    try:
        volumetric = is_volume(path)
        if volumetric:
            middle, volume = middle_slice(path)
            size = (middle.shape[0], middle.shape[1])
            header = Header(volume.kind, size, len(volume.pixels), deep=True, spacing=volume.spacing)
            stored = np.rint(middle * 65535).astype(np.uint16)
        else:
            header = header_of(path)
            side = min(SIDE, max(header.size))
            stored = decode(path, size=side, channels=1, deep=header.deep)[0]
    except UNREADABLE as error:
        return without_names(what_is_wrong(path, error), path)
    pixels = _stretched(stored)
    thumb = _thumb(pixels)
    return Look(
        header=header,
        volume=volumetric,
        one_grey=float(np.bincount(pixels.ravel(), minlength=256).max() / pixels.size),
        thumb=thumb,
        hash=hash_of(thumb),
        text=text_tiles(pixels),
    )


def _stretched(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """8 bit from black to white: a 12-bit film in a 16-bit file would be black, and its letters without edges."""
    low, high = float(pixels.min()), float(pixels.max())
    if high - low < 1:
        return np.zeros(pixels.shape, dtype=np.uint8)
    scaled = (pixels.astype(np.float32) - low) * (255 / (high - low))
    eight: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
    return eight


def _thumb(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    small = Image.fromarray(pixels).resize((THUMB, THUMB), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small, dtype=np.float32)
