"""Finding and decoding 2D image files: Pillow's formats here, 8 and 16 bit, grey and colour; all others by `readers`."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.image_steps import AS_IT_IS, LUMA, Planes, crop_of, equalised, resized
from medfusion_jupyter.data.readers import ImageError, MedicalImage, reader_of
from medfusion_jupyter.data.readers.dicom import CT_RANGE
from medfusion_jupyter.data.readers.medical_image import range_of
from medfusion_jupyter.data.readers.registry import stem_of
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing

UNREADABLE = (OSError, UnidentifiedImageError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for a file that is cut short, damaged, of another kind or absurdly large."""

READ_WHOLE = 2**24
"""Files of so many bytes at most are read at once: a thread that reads in pieces waits for Python's lock after each of them."""

Window = tuple[float, float] | None
"""What is black and white of a CT, in Hounsfield units; None is CT_RANGE."""

DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def what_is_wrong(path: Path, error: Exception) -> str:
    """One of UNREADABLE in words, with the name of the file and what to do."""
    if isinstance(error, ImageError):
        return str(error)
    return f"{path.name} cannot be read as an image: {error}. Copy it anew from where it came."


def without_names(said: str, *paths: Path) -> str:
    """What is said of these files, without their names: one may be named after a patient."""
    for path in paths:
        with suppress(OSError):  # of a folder also its files: the slices of a series
            for file in path.iterdir() if path.is_dir() else ():
                said = said.replace(f"{path.name}/{file.name}", "one of its files")
        for name in (str(path), path.name):
            # whole words: a folder may be named 1
            said = re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", "the file", said)
    return said


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
            files = {entry.name: _is_file(entry) for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return by_name
    except OSError as error:
        raise CohortError(f"The folder {folder} of images cannot be read: {error.strerror}.") from error
    for name, is_file in files.items():
        stem = stem_of(name) if is_file else None
        if stem is not None:
            by_name.setdefault(stem, []).append(name)
    by_name.update({name: [name] for name, is_file in files.items() if is_file})
    for name in files:
        by_name.setdefault(name, [name])  # a folder: the files of a DICOM series
    return by_name


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def why_unreadable(path: Path) -> str | None:
    """What is wrong with a file as an image or a volume; None where it can be read."""
    try:
        if is_volume(path):
            reader = reader_of(path)
            assert reader is not None
            reader.read(path)
            return None
        _, deep = kind_of(path)
        decode(path, size=32, channels=1, deep=deep)
    except UNREADABLE as error:
        return what_is_wrong(path, error)
    return None


def is_volume(path: Path) -> bool:
    """Whether a file or folder holds a volume, by its header. Raises one of UNREADABLE."""
    reader = reader_of(path)
    return reader is not None and reader.is_volume(path)


def channels_of_volume(path: Path) -> int:
    """How many values each voxel has, by the header. Raises one of UNREADABLE."""
    reader = reader_of(path)
    return 1 if reader is None else reader.channels(path)


def kind_of(path: Path) -> tuple[int, bool]:
    """(channels, has more than 8 bits) by the file's header. Raises one of UNREADABLE."""
    reader = reader_of(path)
    if reader is not None:
        plane = reader.plane(path)
        return plane.channels, plane.deep
    with Image.open(path) as image:
        grey = image.mode in ("1", "L", "LA", *DEEP_MODES, "F")
        return 1 if grey else 3, image.mode in (*DEEP_MODES, "F")


@dataclass(frozen=True)
class Header:
    """What a file says of its image. kind: as `PNG`; size: (height, width) in pixels, upright; channels: 1 is grey, 3 colours;
    deep: whether more than 8 bits; spacing: mm between rows and between columns, of a volume between slices before them,
    None where the file does not say."""

    kind: str
    size: tuple[int, int]
    channels: int
    deep: bool
    spacing: tuple[float, ...] | None


def header_of(path: Path) -> Header:
    """What the file says of its image. Raises one of UNREADABLE."""
    reader = reader_of(path)
    if reader is not None:
        plane = reader.plane(path)
        return Header(plane.kind, plane.size, plane.channels, plane.deep, plane.spacing)
    channels, deep = kind_of(path)
    with Image.open(path) as image:
        size = (image.height, image.width)
        turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return Header(image.format or "", size[::-1] if turned else size, channels, deep, None)


def decode(
    path: Path,
    *,
    size: int,
    channels: int,
    deep: bool,
    window: Window = None,
    preprocessing: ImagePreprocessing = AS_IT_IS,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Pixels `(channels, size, size)`, uint8, or uint16 where `deep`; the image fills the square. Raises one of UNREADABLE.

    channels: those of the file (`kind_of`), 3 of what is grey, or 1: colours by their brightness, other channels by their mean.
    """
    reader = reader_of(path)
    if reader is not None or preprocessing.changes_pixels:
        return _prepared(planes_of(path, window), size, channels, deep, preprocessing)
    _refuse_window(path, window)
    with _opened(path) as image:
        if image.format == "JPEG":
            image.draft(None, (2 * size, 2 * size))  # decodes at a half, quarter or eighth where that is enough
        upright: Image.Image = ImageOps.exif_transpose(image)
        if upright.mode == "F":
            return _prepared(_float_image(path, np.asarray(upright)).shown(), size, channels, deep, preprocessing)
        if upright.mode in DEEP_MODES:
            return _deep(upright, size, channels, deep)
        resized = upright.convert("RGB" if channels == 3 else "L").resize(
            (size, size), Image.Resampling.BILINEAR, reducing_gap=2.0
        )
    pixels = np.asarray(resized)
    pixels = pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]
    return pixels.astype(np.uint16) * 257 if deep else pixels


def _opened(path: Path) -> Image.Image:
    if path.stat().st_size > READ_WHOLE:
        return Image.open(path)
    content = path.read_bytes()
    try:
        return Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        raise UnidentifiedImageError(f"cannot identify image file {str(path)!r}") from None


def _deep(image: Image.Image, size: int, channels: int, deep: bool) -> NDArray[np.uint8] | NDArray[np.uint16]:
    # Pillow scales 16-bit images without smoothing; floats it smooths
    values = Image.fromarray(np.asarray(image).astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.rint(np.asarray(values)).clip(0, 65535)
    pixels = pixels if deep else pixels / 257
    out = np.broadcast_to(pixels, (channels, size, size))
    return out.astype(np.uint16) if deep else out.astype(np.uint8)


def in_window(image: MedicalImage, window: Window, path: Path) -> MedicalImage:
    """A measured image as it is seen in training: through `window`, or its own; a CT must mean the same in every image.

    NIfTI and arrays do not say their unit; a window takes them to be in Hounsfield units.
    """
    if window is not None:
        if image.unit != "HU" and image.kind not in ("NIfTI", "NumPy"):
            raise ImageError(
                f"{path.name} ({image.kind}) is not in Hounsfield units; window= is of CT. Leave the window out, or the file."
            )
        return replace(image, window=window)
    return replace(image, window=CT_RANGE) if image.unit == "HU" else image


def planes_of(path: Path, window: Window = None) -> Planes:
    """A 2D image at its full size through its window, `(C, H, W)` from black (0) to white (1). Raises one of UNREADABLE."""
    reader = reader_of(path)
    if reader is not None:
        reader.plane(path)  # refuses a volume before it is read
        return in_window(reader.read(path), window, path).shown()
    _refuse_window(path, window)
    with _opened(path) as image:
        upright: Image.Image = ImageOps.exif_transpose(image)
        if upright.mode == "F":
            return _float_image(path, np.asarray(upright)).shown()
        deep = upright.mode in DEEP_MODES
        grey = deep or upright.mode in ("1", "L", "LA")
        pixels = np.asarray(upright if deep else upright.convert("L" if grey else "RGB")).astype(np.float32)
    planes: Planes = pixels[None] if grey else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    return (planes / (65535 if deep else 255)).clip(0, 1)


def _prepared(
    planes: Planes, size: int, channels: int, deep: bool, preprocessing: ImagePreprocessing
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if channels == 1 and len(planes) > 1:
        shares = LUMA if len(planes) == 3 else np.full(len(planes), 1 / len(planes), np.float32)
        planes = (planes * shares[:, None, None]).sum(axis=0, keepdims=True)
    planes = planes[(slice(None), *crop_of(planes, preprocessing.crop))]
    if preprocessing.clahe is not None:
        planes = equalised(planes, preprocessing.clahe, deep=deep)
    small = resized(planes, size, preprocessing.resize)
    pixels = np.rint(small.clip(0, 1) * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (channels, size, size)))


def _refuse_window(path: Path, window: Window) -> None:
    if window is not None:
        raise ImageError(
            f"{path.name} is a picture, whose window was chosen when it was saved; window= is of CT in Hounsfield units."
        )


def _float_image(path: Path, values: NDArray[np.float32]) -> MedicalImage:
    if not np.isfinite(values).all():
        raise ImageError(f"{path.name} has values that are no numbers (NaN or inf).")
    window = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else range_of(values)
    return MedicalImage(values[None], None, None, "stored", window, "TIFF")
