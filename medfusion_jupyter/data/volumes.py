"""Volumes as they are learned from: in one orientation, at one size, through one window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.image_files import Window, in_window
from medfusion_jupyter.data.image_steps import AS_IT_IS, crop_of
from medfusion_jupyter.data.readers import ImageError, MedicalImage, reader_of
from medfusion_jupyter.data.readers.geometry import resampled, resized
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing


def decode_volume(
    path: Path,
    *,
    size: tuple[int, int, int],
    channels: int | None = None,
    spacing: float | tuple[float, float, float] | None = None,
    window: Window = None,
    preprocessing: ImagePreprocessing = AS_IT_IS,
) -> tuple[NDArray[np.uint16], tuple[float, ...] | None]:
    """Voxels `(C, D, H, W)` of that size from 0 to 65535, and the spacing of the file in mm, None where it does not say.

    channels: C, where it must be so. spacing: mm to resample to, one for all axes or one each; what is then larger than `size` is
    cut around the centre, what is smaller gets black around it. None stretches the volume to `size`. Of `preprocessing` volumes
    have the crop, which comes before that. Raises one of UNREADABLE.
    """
    reader = reader_of(path)
    if reader is None or not reader.is_volume(path):
        raise ImageError(f"{path.name} is an image, and volumes are needed: image_size={size} has three sides.")
    image = in_window(reader.read(path), window, path)
    there = image.spacing
    if channels not in (None, len(image.pixels)):
        raise ImageError(f"{path.name} has {len(image.pixels)} channels, and the other volumes have {channels}.")
    if spacing is not None:
        if there is None:
            raise ImageError(
                f"{path.name} does not say how far apart its voxels are, so spacing={spacing} cannot be made of it. Save it as "
                "NIfTI with its affine, or leave spacing out."
            )
        image = resampled(image, spacing)
    shown = image.shown()
    cropped = shown[(slice(None), *crop_of(shown, preprocessing.crop))]
    made = np.stack([resized(one, size) if spacing is None else _cut_or_filled(one, size) for one in cropped])
    return np.rint(made * 65535).astype(np.uint16), there


def middle_slice(path: Path, window: Window = None) -> tuple[NDArray[np.float32], MedicalImage]:
    """The axial slice `(H, W)` in the middle of a volume, from 0 to 1, and the volume. Raises one of UNREADABLE."""
    reader = reader_of(path)
    assert reader is not None
    image = in_window(reader.read(path), window, path)
    low, high = image.window
    middle = image.pixels[0, image.pixels.shape[1] // 2]
    return ((middle - low) / max(high - low, 1e-6)).clip(0, 1), image


def _cut_or_filled(voxels: NDArray[np.float32], size: tuple[int, int, int]) -> NDArray[np.float32]:
    out = np.zeros(size, np.float32)
    source, target = [], []
    for there, wanted in zip(voxels.shape, size, strict=True):
        both = min(there, wanted)
        source.append(slice((there - both) // 2, (there - both) // 2 + both))
        target.append(slice((wanted - both) // 2, (wanted - both) // 2 + both))
    out[tuple(target)] = voxels[tuple(source)]
    return out
