"""The tiny image + table model and its data, the same for every trainer. It needs no more of the project than `nn`."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from medfusion_jupyter.nn import Architecture, FusionModel, ImageEncoder, image_encoders

ROWS, BATCH, SIDE, COLUMNS = 2048, 32, 28, 16
PIXELS = np.random.default_rng(0).integers(0, 255, (ROWS, 1, SIDE, SIDE), dtype=np.uint8)
NUMERIC = np.random.default_rng(1).normal(size=(ROWS, COLUMNS)).astype(np.float32)
TARGET = np.random.default_rng(2).integers(0, 2, ROWS)


@image_encoders.register("tiny")
class Tiny(ImageEncoder):
    """The image half of the tiny model."""

    out_features = 64
    smallest = 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)


def model() -> FusionModel:
    """It with the same weights each time."""
    torch.manual_seed(1)
    return FusionModel(Architecture("tiny", "mlp", "concat", "classification", 2, 1, SIDE, COLUMNS, ())).train()


def arrays() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalised images, table and target of all rows."""
    images = (torch.from_numpy(PIXELS).float() / 255 - 0.5) / 0.25
    return images, torch.from_numpy(NUMERIC), torch.from_numpy(TARGET)
