"""Encoders of volumes: `(B, C, D, H, W) -> (B, 128)`. torchvision's are in torchvision_encoders.py."""

from __future__ import annotations

from torch import Tensor, nn

from medfusion_jupyter.nn.image_encoders import ImageEncoder, image_encoders


def _block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


@image_encoders.register("light_cnn_3d")
class LightCNN3D(ImageEncoder):
    """`(B, C, D, H, W) -> (B, 128)` in 0.6 million weights, for volumes of about 16 to 64 voxels a side.

    `light_cnn` in three dimensions, with fewer channels where the resolution is full: a volume has many voxels.
    """

    out_features = 128
    smallest = 8
    dimensions = 3
    recomputes = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(channels, 16, 1),
            _block(16, 32, 2),
            _block(32, 48, 1),
            _block(48, 64, 2),
            _block(64, 96, 1),
            _block(96, 128, 2),
        )

    def feature_map(self, images: Tensor) -> Tensor:
        return self.through(self.body, images)
