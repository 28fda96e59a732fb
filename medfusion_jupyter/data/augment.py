"""Augmentation of whole batches on the device, every image with parameters of its own."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from medfusion_jupyter.settings.augmentation import Augmentation


def augment(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Changed copies of normalised images `(B, C, H, W)`. generator: on the device of the images."""
    count, device = images.shape[0], images.device

    def spread(largest: float) -> Tensor:
        return (torch.rand(count, generator=generator, device=device) * 2 - 1) * largest

    if settings.rotate or settings.translate or settings.scale or settings.flip:
        angle = spread(math.radians(settings.rotate))
        size = 1 + spread(settings.scale)
        mirror = 1 - 2 * (torch.rand(count, generator=generator, device=device) < settings.flip).to(images.dtype)
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        # grid coordinates run from -1 to 1, so a share of the side is twice that
        across, down = spread(2 * settings.translate), spread(2 * settings.translate)
        matrix = torch.stack(
            [torch.stack([cos * mirror, -sin, across], dim=1), torch.stack([sin * mirror, cos, down], dim=1)], dim=1
        )
        grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if settings.brightness or settings.contrast:
        contrast = (1 + spread(settings.contrast)).view(-1, 1, 1, 1)
        brightness = spread(settings.brightness).view(-1, 1, 1, 1)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = torch.addcmul(mean + brightness, images - mean, contrast)
    return images
