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
    """Changed copies of normalised images `(B, C, H, W)`. generator: on the device of the images.

    part: where the images are some of a batch, which ones and how many it has: all numbers of that batch are drawn, so that a row
    is changed alike however it is shared.
    """
    count = len(images) if part is None else part[1]
    # all of a batch in one draw, between -1 and 1: as many numbers whatever the settings are
    draws = torch.rand(7, count, generator=generator, device=images.device).mul_(2).sub_(1)
    draws = draws if part is None else draws[:, part[0]]
    angle, size, side, across, down, contrast, brightness = draws
    moved = bool(settings.rotate or settings.translate or settings.scale or settings.flip)
    if moved:
        angle, size = angle * math.radians(settings.rotate), 1 + size * settings.scale
        mirror = 1 - 2 * (side < 2 * settings.flip - 1).to(images.dtype)
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        # grid coordinates run from -1 to 1, so a share of the side is twice that
        across, down = across * 2 * settings.translate, down * 2 * settings.translate
        matrix = torch.stack([cos * mirror, -sin, across, sin * mirror, cos, down], dim=1).view(-1, 2, 3)
        grid = _affine_grid(matrix, images.shape[2], images.shape[3])
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if settings.brightness or settings.contrast:
        factor = (1 + contrast * settings.contrast).view(-1, 1, 1, 1)
        shift = (brightness * settings.brightness).view(-1, 1, 1, 1)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        # (x - mean) * factor + mean + shift, in place where they are a copy already; addcmul with a value an image is several
        # times slower on a CPU
        images = torch.mul(images, factor, out=images if moved else None).add_(mean * (1 - factor) + shift)
    return images


def _affine_grid(matrix: Tensor, height: int, width: int) -> Tensor:
    """`(B, 2, 3) -> (B, H, W, 2)`: what `F.affine_grid` gives with align_corners=False.

    On a CPU that spends three times as long as `grid_sample` on products of tiny matrices. A place's coordinates are a sum of
    what its column and what its row give, and `grid_sample` likes x and y as planes of their own.
    """
    of_column = matrix[:, :, 0, None] * _centres(width, matrix.device)
    of_row = matrix[:, :, 1, None] * _centres(height, matrix.device) + matrix[:, :, 2, None]
    return (of_column[:, :, None, :] + of_row[:, :, :, None]).permute(0, 2, 3, 1)


@lru_cache(maxsize=16)
def _centres(count: int, device: torch.device) -> Tensor:
    """Where the centres of `count` pixels lie between -1 and 1."""
    return (torch.arange(count, device=device) * 2 + 1) / count - 1
