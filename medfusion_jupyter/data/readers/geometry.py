"""Volumes in one orientation and at one spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.readers.medical_image import ImageError, MedicalImage

CANONICAL = ("S", "P", "L")
"""The way in which indices of (D, H, W) grow: towards the head, the back and the left, as axial slices are looked at."""

LARGEST = 1024
"""Resampling makes no axis longer than this."""


def canonical(
    pixels: NDArray[np.float32], affine: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """`(C, I, J, K)` and its affine to RAS+ mm -> `(C, D, H, W)` with its own, by swapping and turning axes."""
    from nibabel import orientations

    now = orientations.io_orientation(affine)
    turn = orientations.ornt_transform(now, orientations.axcodes2ornt(CANONICAL))
    turned = np.stack([orientations.apply_orientation(channel, turn) for channel in pixels])
    return np.ascontiguousarray(turned), affine @ orientations.inv_ornt_aff(turn, pixels.shape[1:])


def spacing_of_affine(affine: NDArray[np.float64]) -> tuple[float, ...]:
    """mm between neighbours along each axis."""
    return tuple(float(mm) for mm in np.linalg.norm(affine[:3, :3], axis=0))


def resampled(image: MedicalImage, spacing: float | Sequence[float]) -> MedicalImage:
    """The image with `spacing` mm between neighbours, one for all axes or one each; linear, smoothed where it gets coarser."""
    axes = image.pixels.ndim - 1
    wanted = (float(spacing),) * axes if isinstance(spacing, (int, float)) else tuple(float(mm) for mm in spacing)
    if len(wanted) != axes or not all(mm > 0 for mm in wanted):
        raise ImageError(f"spacing={spacing!r} does not fit: give one number of mm above 0, or {axes}.")
    if image.spacing is None:
        raise ImageError("The file does not say how far apart its pixels are, so it cannot be resampled in mm.")
    pixels = image.pixels
    steps = []
    for axis, (now, then) in enumerate(zip(image.spacing, wanted, strict=True), start=1):
        before = pixels.shape[axis]
        after = max(1, round(before * now / then))
        if after > LARGEST:
            raise ImageError(
                f"At {then:g} mm an axis would have {after} pixels; at most {LARGEST} are made. Take a larger spacing."
            )
        steps.append(before / after)
        if after != before:
            pixels = np.moveaxis(np.tensordot(pixels, _weights(before, after), axes=(axis, 1)), -1, axis)
    affine = image.affine
    if affine is not None:
        # pixel k of the new axis lies at (k + ½)·step − ½ of the old one
        scale = np.diag([*steps, 1.0])
        scale[:3, 3] = (np.asarray(steps) - 1) / 2
        affine = affine @ scale
    real = tuple(now * step for now, step in zip(image.spacing, steps, strict=True))
    return replace(image, pixels=np.ascontiguousarray(pixels, dtype=np.float32), spacing=real, affine=affine)


def resized(voxels: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    """An array at another size, each axis by itself; linear, smoothed where it gets coarser."""
    for axis, (before, after) in enumerate(zip(voxels.shape, size, strict=True)):
        if before != after:
            voxels = np.moveaxis(np.tensordot(voxels, _weights(before, after), axes=(axis, 1)), -1, axis)
    return np.ascontiguousarray(voxels, dtype=np.float32)


def _weights(before: int, after: int) -> NDArray[np.float32]:
    """`(after, before)`: a triangle around each new pixel's place, as wide as the coarser of both spacings; rows sum to 1."""
    step = before / after
    place = (np.arange(after) + 0.5) * step - 0.5
    distance = np.abs(np.arange(before)[None] - place.clip(0, before - 1)[:, None]) / max(step, 1.0)
    weights = (1 - distance).clip(0)
    result: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
