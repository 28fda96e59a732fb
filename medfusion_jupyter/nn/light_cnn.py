"""Light convolutional encoders of images and of volumes. torchvision's networks are in torchvision_encoders.py."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from medfusion_jupyter.nn.image_encoders import ImageEncoder, image_encoders

STRIDES = (1, 2, 1, 2, 1, 2)
"""The first convolution keeps the resolution, so that a lesion of a few pixels is still seen."""


@image_encoders.register("light_cnn")
class LightCNN(ImageEncoder):
    """`(B, C, H, W) -> (B, 128)` in 0.3 million weights, for images of about 24 to 128 pixels a side.

    Six convolutions of 3 pixels a side with batch normalisation. widths: the channels that each gives.
    """

    out_features = 128
    smallest = 8
    recomputes = True
    widths: ClassVar[tuple[int, ...]] = (24, 32, 48, 64, 96, 128)

    def __init__(self, channels: int) -> None:
        super().__init__()
        blocks = zip(pairwise((channels, *self.widths)), STRIDES, strict=True)
        self.body = nn.Sequential(*(_block(given, made, stride, self.dimensions) for (given, made), stride in blocks))

    def feature_map(self, images: Tensor) -> Tensor:
        return self.through(self.body, images)


@image_encoders.register("light_cnn_3d")
class LightCNN3D(LightCNN):
    """`(B, C, D, H, W) -> (B, 128)` in 0.6 million weights, for volumes of about 16 to 64 voxels a side.

    `light_cnn` in three dimensions, with fewer channels where the resolution is full: a volume has many voxels.
    """

    dimensions = 3
    widths = (16, 32, 48, 64, 96, 128)


def _block(given: int, made: int, stride: int, dimensions: int) -> nn.Sequential:
    convolution, norm = (nn.Conv2d, nn.BatchNorm2d) if dimensions == 2 else (nn.Conv3d, nn.BatchNorm3d)
    return nn.Sequential(
        convolution(given, made, 3, stride=stride, padding=1, bias=False), norm(made), nn.ReLU(inplace=True)
    )
