"""NIfTI files: scaled, and turned to the canonical orientation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medfusion_jupyter.data.readers.geometry import canonical, spacing_of_affine
from medfusion_jupyter.data.readers.medical_image import ImageError, MedicalImage, range_of
from medfusion_jupyter.data.readers.registry import Plane

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image


def read(path: Path) -> MedicalImage:
    """A volume; an image where one axis has one pixel."""
    file = _open(path)
    if file.header["qform_code"] == 0 and file.header["sform_code"] == 0:
        raise ImageError(
            f"{path.name} has no affine: neither qform nor sform is set, so its orientation is not known. Set it where the file "
            "was made, or, where you know it, with nibabel's image.set_sform(affine, code=1)."
        )
    shape = _spatial_shape(path, file)
    try:
        values = np.asarray(file.get_fdata(dtype=np.float32)).reshape(shape)
    except Exception as error:  # a short or damaged file fails in as many ways as it can be packed
        raise ImageError(
            f"The values of {path.name} are cut short or damaged: {error}. Copy it anew from where it came."
        ) from error
    if not np.isfinite(values).all():
        raise ImageError(
            f"{path.name} has {int((~np.isfinite(values)).sum()):,} values that are no numbers (NaN or inf)."
        )
    assert file.affine is not None
    pixels, affine = canonical(values[None], np.asarray(file.affine, dtype=np.float64))
    spacing = spacing_of_affine(affine)
    if pixels.shape[1] == 1:
        return MedicalImage(pixels[:, 0], spacing[1:], None, "stored", range_of(values), "NIfTI")
    return MedicalImage(pixels, spacing, affine, "stored", range_of(values), "NIfTI")


def is_volume(path: Path) -> bool:
    """Whether it has more than one axial slice."""
    return _spatial_shape(path, _open(path))[2] != 1


def plane(path: Path) -> Plane:
    """The header of a file with one axial slice."""
    file = _open(path)
    shape = _spatial_shape(path, file)
    if shape[2] != 1:
        raise ImageError(
            f"{path.name} is a volume of {' x '.join(map(str, shape))}; a 2D image is needed. Save the slice that matters as an "
            "image; mf.read_image(path) reads all."
        )
    zooms = file.header.get_zooms()
    return Plane((shape[1], shape[0]), 1, True, (float(zooms[1]), float(zooms[0])), "NIfTI")


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


def _spatial_shape(path: Path, file: Nifti1Image) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in file.shape)
    if any(n != 1 for n in shape[3:]) or len(shape) < 2:
        raise ImageError(
            f"{path.name} has the shape {' x '.join(map(str, shape))}: a time series or a vector at each place. Save the volume "
            "that matters by itself."
        )
    padded = (*shape[:3], 1, 1)
    return padded[0], padded[1], padded[2]
