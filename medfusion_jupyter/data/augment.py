"""Augmentation of whole batches on the device, every image with parameters of its own."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from medfusion_jupyter.settings.augmentation import Augmentation


def augment(
    images: Tensor, settings: Augmentation, generator: torch.Generator, part: tuple[slice, int] | None = None
) -> Tensor:
    """Changed copies of normalised images `(B, C, H, W)`, or volumes `(B, C, D, H, W)`. generator: on the device of the images.

    Volumes are turned around their three axes, each by an angle of its own; left and right change places along W.

    part: where the images are some of a batch, which ones and how many it has: all numbers of that batch are drawn, so that a row
    is changed alike however it is shared.
    """
    if images.ndim == 5:
        return _augmented_volumes(images, settings, generator, part)
    draws = _draws(7, images, generator, part)
    if not len(images):  # of a part without any, whose numbers are drawn nevertheless
        return images
    reach, middle = _reach(settings, images.device)
    angle, size, side, across, down, factor, shift = draws.mul_(reach).add_(middle)
    moved = _moves(settings)
    if moved:
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        mirror = _mirror(side, settings)
        matrix = torch.stack([cos * mirror, -sin, across, sin * mirror, cos, down], dim=1).view(-1, 2, 3)
        grid = _affine_grid(matrix, images.shape[2], images.shape[3])
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return _intensity(images, settings, factor, shift, copied=moved)


@lru_cache(maxsize=16)
def _reach(settings: Augmentation, device: torch.device) -> tuple[Tensor, Tensor]:
    """`(7, 1)` each: by what the draws of an image are multiplied, and what is added then.

    They become its angle, size, side, shift across and down (grid coordinates run from -1 to 1, so a share of the side is
    twice that), the factor of its contrast and the shift of its brightness. One product for all: a batch is quick, and each
    operation on a few numbers would show.
    """
    shift = 2 * settings.translate
    by_draw = [
        (math.radians(settings.rotate), 0.0),
        (settings.scale, 1.0),
        (1.0, 0.0),
        (shift, 0.0),
        (shift, 0.0),
        (settings.contrast, 1.0),
        (settings.brightness, 0.0),
    ]
    reach, middle = torch.tensor(by_draw, device=device).t()
    return reach[:, None], middle[:, None]


def _moves(settings: Augmentation) -> bool:
    return bool(settings.rotate or settings.translate or settings.scale or settings.flip)


def _mirror(side: Tensor, settings: Augmentation) -> Tensor:
    """-1 where an image is flipped, and 1. side: draws `(B,)`."""
    return torch.where(side < 2 * settings.flip - 1, -1.0, 1.0)


def _draws(count: int, images: Tensor, generator: torch.Generator, part: tuple[slice, int] | None) -> Tensor:
    """`(count, B)` between -1 and 1, all of a batch in one draw: as many numbers whatever the settings are."""
    whole = len(images) if part is None else part[1]
    draws = torch.rand(count, whole, generator=generator, device=images.device).mul_(2).sub_(1)
    return draws if part is None else draws[:, part[0]]


def _augmented_volumes(
    volumes: Tensor, settings: Augmentation, generator: torch.Generator, part: tuple[slice, int] | None
) -> Tensor:
    draws = _draws(10, volumes, generator, part)
    if not len(volumes):
        return volumes
    size, side, contrast, brightness = draws[6:]
    moved = _moves(settings)
    if moved:
        mirror = _mirror(side, settings)
        turn = _turns(draws[:3] * math.radians(settings.rotate)) / (1 + size * settings.scale)[:, None, None]
        # grid coordinates run from -1 to 1 along each side: in voxels a volume is no cube, and is turned as it lies
        sides = torch.tensor(volumes.shape[:1:-1], dtype=volumes.dtype, device=volumes.device)
        turn = turn * sides[None, None, :] / sides[None, :, None]
        turn = torch.cat([turn[:, :1] * mirror[:, None, None], turn[:, 1:]], dim=1)
        shift = draws[3:6].t()[:, :, None] * 2 * settings.translate
        grid = F.affine_grid(torch.cat([turn, shift], dim=2), list(volumes.shape), align_corners=False)
        volumes = F.grid_sample(volumes, grid, padding_mode="border", align_corners=False)
    factor, brighter = 1 + contrast * settings.contrast, brightness * settings.brightness
    return _intensity(volumes, settings, factor, brighter, copied=moved)


def _turns(angles: Tensor) -> Tensor:
    """`(3, B) -> (B, 3, 3)`: rotations in the planes of (W, H), (W, D) and (H, D), one after the other."""
    turns = torch.eye(3, dtype=angles.dtype, device=angles.device).expand(angles.shape[1], 3, 3)
    for angle, (one, other) in zip(angles, ((0, 1), (0, 2), (1, 2)), strict=True):
        plane = torch.eye(3, dtype=angles.dtype, device=angles.device).repeat(len(angle), 1, 1)
        plane[:, one, one] = plane[:, other, other] = torch.cos(angle)
        plane[:, one, other], plane[:, other, one] = -torch.sin(angle), torch.sin(angle)
        turns = turns @ plane
    return turns


def _intensity(images: Tensor, settings: Augmentation, factor: Tensor, shift: Tensor, *, copied: bool) -> Tensor:
    """Contrast changed by a factor and brightness by a shift, `(B,)` each. copied: whether the images may be changed in place."""
    if not (settings.brightness or settings.contrast):
        return images
    of_image = (-1, *(1 for _ in images.shape[1:]))
    factor = factor.view(of_image)
    mean = images.mean(dim=tuple(range(1, images.ndim)), keepdim=True)
    # (x - mean) * factor + mean + shift, in place where they are a copy already; addcmul with a value an image is several
    # times slower on a CPU
    added = mean.mul_(1 - factor).add_(shift.view(of_image))
    return torch.mul(images, factor, out=images if copied else None).add_(added)


def _affine_grid(matrix: Tensor, height: int, width: int) -> Tensor:
    """`(B, 2, 3) -> (B, H, W, 2)`: what `F.affine_grid` gives with align_corners=False.

    On a CPU that spends three times as long as `grid_sample` on products of tiny matrices. A place's coordinates are a sum of
    what its column and what its row give, and `grid_sample` likes x and y as planes of their own.
    """
    across, down, shift = matrix[..., None, None].unbind(2)
    x, y = _centres(width, matrix.device), _centres(height, matrix.device)[:, None]
    return (across * x + (down * y + shift)).permute(0, 2, 3, 1)


@lru_cache(maxsize=16)
def _centres(count: int, device: torch.device) -> Tensor:
    """Where the centres of `count` pixels lie between -1 and 1."""
    return (torch.arange(count, device=device) * 2 + 1) / count - 1
