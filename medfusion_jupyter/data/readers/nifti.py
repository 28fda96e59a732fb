"""NIfTI files: scaled, and turned to the canonical orientation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medfusion_jupyter.data.readers.arrays import MOST_CHANNELS
from medfusion_jupyter.data.readers.geometry import canonical, spacing_of_affine
from medfusion_jupyter.data.readers.medical_image import ImageError, MedicalImage, range_of
from medfusion_jupyter.data.readers.registry import Plane

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image


def read(path: Path) -> MedicalImage:
    """A volume; an image where one axis has one pixel. The fifth dimension holds channels."""
    file = _open(path)
    if file.header["qform_code"] == 0 and file.header["sform_code"] == 0:
        raise ImageError(
            f"{path.name} has no affine: neither qform nor sform is set, so its orientation is not known. Set it where the file "
            "was made, or, where you know it, with nibabel's image.set_sform(affine, code=1)."
        )
    shape, count = _shape(path, file)
    try:
        values = np.moveaxis(np.asarray(file.get_fdata(dtype=np.float32)).reshape(*shape, count), -1, 0)
    except Exception as error:  # a short or damaged file fails in as many ways as it can be packed
        raise ImageError(
            f"The values of {path.name} are cut short or damaged: {error}. Copy it anew from where it came."
        ) from error
    if not np.isfinite(values).all():
        raise ImageError(
            f"{path.name} has {int((~np.isfinite(values)).sum()):,} values that are no numbers (NaN or inf)."
        )
    assert file.affine is not None
    pixels, affine = canonical(values, np.asarray(file.affine, dtype=np.float64))
    spacing = spacing_of_affine(affine)
    if pixels.shape[1] == 1:
        return MedicalImage(pixels[:, 0], spacing[1:], None, "stored", range_of(values), "NIfTI")
    return MedicalImage(pixels, spacing, affine, "stored", range_of(values), "NIfTI")


def is_volume(path: Path) -> bool:
    """Whether it has more than one axial slice."""
    return _shape(path, _open(path))[0][2] != 1


def channels(path: Path) -> int:
    """How many values each place has."""
    return _shape(path, _open(path))[1]


def plane(path: Path) -> Plane:
    """The header of a file with one axial slice."""
    file = _open(path)
    shape, count = _shape(path, file)
    if shape[2] != 1:
        raise ImageError(
            f"{path.name} is a volume of {' x '.join(map(str, shape))}; a 2D image is needed. Save the slice that matters as an "
            "image; mf.read_image(path) reads all."
        )
    zooms = file.header.get_zooms()
    return Plane((shape[1], shape[0]), count, True, (float(zooms[1]), float(zooms[0])), "NIfTI")


def _open(path: Path) -> Nifti1Image:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.nifti1 import Nifti1Image

    try:
        file = nibabel.load(path)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise ImageError(
            f"{path.name} is not a NIfTI file that is whole: {error}. Copy it anew from where it came."
        ) from error
    if not isinstance(file, Nifti1Image):
        raise ImageError(f"{path.name} is {type(file).__name__}, not NIfTI.")
    return file


def _shape(path: Path, file: Nifti1Image) -> tuple[tuple[int, int, int], int]:
    """The spatial shape, and how many channels the fifth dimension has, which the standard keeps for vectors."""
    x, y, z, time, count, *more = (*(int(n) for n in file.shape), 1, 1, 1, 1, 1)
    if time != 1 or count > MOST_CHANNELS or any(n != 1 for n in more) or len(file.shape) < 2:
        raise ImageError(
            f"{path.name} has the shape {' x '.join(map(str, file.shape))}: by the standard the fourth dimension is time, and "
            f"the fifth channels ({MOST_CHANNELS} at most). Save channels as Nifti1Image(values[:, :, :, None, :], affine), "
            "of a time series the volume that matters."
        )
    return (x, y, z), count
