"""`mf.read_image`: any image file or DICOM series as it was measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from medfusion_jupyter.data.image_files import DEEP_MODES, UNREADABLE
from medfusion_jupyter.data.readers import ImageError, MedicalImage, reader_of
from medfusion_jupyter.data.readers.geometry import resampled
from medfusion_jupyter.data.readers.medical_image import range_of


def read_image(
    path: str | os.PathLike[str],
    *,
    window: str | tuple[float, float] | None = None,
    spacing: float | Sequence[float] | None = None,
) -> MedicalImage:
    """Read an image or a volume: DICOM (a file, or the folder of a series), NIfTI, PNG, JPEG, TIFF, BMP, `.npy`, `.npz`.

    window: a CT preset (`lung`, `mediastinum`, `soft tissue`, `liver`, `bone`, `brain`, `stroke`) or (low, high): what is black
    and white; by default the file's own. spacing: mm to resample to, one number or one an axis. See MedicalImage for shapes,
    units and orientation. Raises ImageError, which names the file, what is wrong and what to do.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ImageError(f"There is no file or folder {path}.")
    reader = reader_of(path)
    image = _by_pillow(path) if reader is None else reader.read(path)
    if window is not None:
        image = image.windowed(window)
    return image if spacing is None else resampled(image, spacing)


def _by_pillow(path: Path) -> MedicalImage:
    try:
        with Image.open(path) as file:
            kind = file.format or ""
            upright: Image.Image = ImageOps.exif_transpose(file)
            deep = upright.mode in DEEP_MODES
            grey = deep or upright.mode in ("1", "L", "LA", "F")
            pixels = np.asarray(upright if deep or upright.mode == "F" else upright.convert("L" if grey else "RGB"))
    except UNREADABLE as error:
        raise ImageError(
            f"{path.name} cannot be read as an image: {error}. Copy it anew from where it came."
        ) from error
    values = pixels.astype(np.float32)
    values = values[None] if grey else np.moveaxis(values, -1, 0)
    if upright.mode == "F":
        window = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else range_of(values)
    else:
        window = (0.0, 65535.0 if deep else 255.0)
    return MedicalImage(values, None, None, "stored", window, kind)
