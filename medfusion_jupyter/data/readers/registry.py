"""Which reader reads a file: one entry a format, found by suffix, else by content."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from medfusion_jupyter.data.readers.medical_image import MedicalImage


class Plane(NamedTuple):
    """What a file's header says of a 2D image: (height, width), channels (1 is grey, 3 red, green and blue), whether it has more
    than 8 bits, mm between rows and columns, and its kind."""

    size: tuple[int, int]
    channels: int
    deep: bool
    spacing: tuple[float, float] | None
    kind: str


@dataclass(frozen=True)
class Reader:
    """A format. suffixes: in lower case; starts: whether a file with these first 132 bytes is one; module: of this package, with
    `read(path) -> MedicalImage`, `is_volume(path) -> bool`, `channels(path) -> int` and `plane(path) -> Plane`, all raising
    ImageError; folders: whether a folder is one image."""

    name: str
    suffixes: tuple[str, ...]
    starts: Callable[[bytes], bool]
    module: str
    folders: bool = False

    def read(self, path: Path) -> MedicalImage:
        """The whole image. Raises ImageError."""
        image: MedicalImage = import_module(f"{__package__}.{self.module}").read(path)
        return image

    def is_volume(self, path: Path) -> bool:
        """Whether the image has three spatial axes, by its header. Raises ImageError."""
        volume: bool = import_module(f"{__package__}.{self.module}").is_volume(path)
        return volume

    def channels(self, path: Path) -> int:
        """How many values each place of an image or a volume has, by its header. Raises ImageError."""
        count: int = import_module(f"{__package__}.{self.module}").channels(path)
        return count

    def plane(self, path: Path) -> Plane:
        """The header of a 2D image. Raises ImageError, for a volume too."""
        header: Plane = import_module(f"{__package__}.{self.module}").plane(path)
        return header


READERS = (
    Reader("DICOM", (".dcm", ".dicom", ".ima"), lambda head: head[128:132] == b"DICM", "dicom", folders=True),
    Reader("NIfTI", (".nii", ".nii.gz"), lambda head: False, "nifti"),
    Reader("NumPy", (".npy", ".npz"), lambda head: head.startswith(b"\x93NUMPY"), "arrays"),
)

TIFF_PAGES = Reader("TIFF", (".tif", ".tiff"), lambda head: False, "tiff_pages")
"""For TIFF files of several pages, and the like; Pillow reads the others, as it reads PNG."""

SEVERAL_PAGES = re.compile(r'"shape": \[(\d+, ){2}|images=(?!1\b)\d|Size[ZCT]="(?!1")\d')
"""In the description of a TIFF by tifffile, ImageJ or OME."""

PILLOWS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""Suffixes of files that Pillow reads."""


def suffixes() -> tuple[str, ...]:
    """All suffixes that are read, Pillow's first."""
    return (*PILLOWS, *(suffix for reader in READERS for suffix in reader.suffixes))


def stem_of(name: str) -> str | None:
    """A file's name without its suffix, where that is one of an image: `ct.nii.gz` -> `ct`; else None."""
    lower = name.lower()
    suffix = max((s for s in suffixes() if lower.endswith(s)), key=len, default=None)
    return None if suffix is None else name[: -len(suffix)]


def reader_of(path: Path) -> Reader | None:
    """The reader of a file or folder; None where it is Pillow's, or nobody's."""
    name = path.name.lower()
    if name.endswith(TIFF_PAGES.suffixes) and _beyond_pillow(path):
        return TIFF_PAGES
    if name.endswith(PILLOWS):
        return None
    for reader in READERS:
        if name.endswith(reader.suffixes):
            return reader
    if path.is_dir():
        return next(reader for reader in READERS if reader.folders)
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return None
    return next((reader for reader in READERS if reader.starts(head)), None)


def _beyond_pillow(path: Path) -> bool:
    """Whether a TIFF has several pages, or samples that Pillow takes for others: of 16 bits, or a plane each."""
    from PIL import Image, TiffTags, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            tags = {TiffTags.lookup(tag).name: value for tag, value in getattr(image, "tag_v2", {}).items()}
            several = int(tags.get("SamplesPerPixel", 1)) > 1
            if several and (max(tags["BitsPerSample"]) > 8 or tags.get("PlanarConfiguration") == 2):
                return True
            # a file that was cut short may have lost its other pages, which its description tells of
            told = not several and SEVERAL_PAGES.search(str(tags.get("ImageDescription", ""))) is not None
            return told or getattr(image, "n_frames", 1) > 1
    except UnidentifiedImageError:
        return True
    except Exception:  # whoever decodes it says what is wrong
        return False
