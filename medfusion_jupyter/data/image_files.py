"""Finding and decoding image files: PNG and JPEG, 8 and 16 bit, grey and colour."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from medfusion_jupyter.data.errors import CohortError

SUFFIXES = (".png", ".jpg", ".jpeg")

UNREADABLE = (OSError, UnidentifiedImageError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for a file that is cut short, damaged, of another kind or absurdly large."""

_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def find_images(root: Path, values: Sequence[str | None], column: str) -> list[Path | None]:
    """The file of each value, None where there is none.

    A value is a path relative to `root`; its suffix may be left out where exactly one file fits. Raises CohortError for a
    path that leaves the root and for one that several files fit.
    """
    folders: dict[Path, dict[str, list[str]]] = {}
    base = os.path.normpath(root)
    found: list[Path | None] = []
    for value in values:
        if value is None:
            found.append(None)
            continue
        path = Path(os.path.normpath(os.path.join(base, value)))
        if not path.is_relative_to(base):
            raise CohortError(f"The value {value!r} of column {column!r} leads out of image_root {root}.")
        by_name = folders.get(path.parent)
        if by_name is None:
            by_name = folders[path.parent] = _by_name(path.parent)
        fitting = by_name.get(path.name, [])
        if len(fitting) > 1:
            raise CohortError(
                f"The value {value!r} of column {column!r} fits several files: {', '.join(sorted(fitting))}. Add the suffix."
            )
        found.append(path.parent / fitting[0] if fitting else None)
    return found


def _by_name(folder: Path) -> dict[str, list[str]]:
    """Files of a folder by full name, and by name without an image's suffix."""
    by_name: dict[str, list[str]] = {}
    try:
        with os.scandir(folder) as entries:
            files = [entry.name for entry in entries if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return by_name
    for name in files:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES:
            by_name.setdefault(stem, []).append(name)
    by_name.update({name: [name] for name in files})
    return by_name


def is_readable(path: Path) -> bool:
    """Whether the file decodes."""
    try:
        with Image.open(path) as image:
            image.load()
    except UNREADABLE:
        return False
    return True


def kind_of(path: Path) -> tuple[bool, bool]:
    """(has colours, has more than 8 bits) by the file's header. Raises one of UNREADABLE."""
    with Image.open(path) as image:
        return image.mode not in ("1", "L", "LA", *_DEEP_MODES, "F"), image.mode in _DEEP_MODES


@dataclass(frozen=True)
class Header:
    """What a file says of its image. kind: as `PNG`; size: (height, width) in pixels; spacing: mm between rows and between
    columns, None where the file does not say."""

    kind: str
    size: tuple[int, int]
    coloured: bool
    deep: bool
    spacing: tuple[float, float] | None


def header_of(path: Path) -> Header:
    """What the file says of its image. Raises one of UNREADABLE."""
    coloured, deep = kind_of(path)
    with Image.open(path) as image:
        return Header(image.format or "", (image.height, image.width), coloured, deep, None)


def decode(path: Path, *, size: int, channels: int, deep: bool) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Pixels `(channels, size, size)`, uint8, or uint16 where `deep`; the image fills the square. Raises one of UNREADABLE."""
    with Image.open(path) as image:
        if image.format == "JPEG":
            image.draft(None, (2 * size, 2 * size))  # decodes at a half, quarter or eighth where that is enough
        upright: Image.Image = ImageOps.exif_transpose(image)
        if upright.mode in _DEEP_MODES:
            return _deep(upright, size, channels, deep)
        resized = upright.convert("RGB" if channels == 3 else "L").resize(
            (size, size), Image.Resampling.BILINEAR, reducing_gap=2.0
        )
    pixels = np.asarray(resized)
    pixels = pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]
    return pixels.astype(np.uint16) * 257 if deep else pixels


def _deep(image: Image.Image, size: int, channels: int, deep: bool) -> NDArray[np.uint8] | NDArray[np.uint16]:
    # Pillow scales 16-bit images without smoothing; floats it smooths
    values = Image.fromarray(np.asarray(image).astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.rint(np.asarray(values)).clip(0, 65535)
    pixels = pixels if deep else pixels / 257
    out = np.broadcast_to(pixels, (channels, size, size))
    return out.astype(np.uint16) if deep else out.astype(np.uint8)
