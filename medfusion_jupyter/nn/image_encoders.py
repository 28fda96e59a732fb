"""Image encoders: `(B, C, H, W) -> (B, D)`, and the feature map that the vector was pooled from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medfusion_jupyter.nn.registry import Registry


class ImageEncoder(nn.Module):
    """The contract of an image encoder.

    `out_features` is D, the length of the vector. `smallest` is the shortest side in pixels that it accepts. An encoder that
    sends its images `through` blocks sets `recomputes`: then `recompute` turns gradient checkpointing on.
    """

    out_features: int
    smallest: int
    recomputes: ClassVar[bool] = False
    recompute = False

    def feature_map(self, images: Tensor) -> Tensor:
        """`(B, C, H, W) -> (B, D, h, w)`: the last feature map before pooling."""
        raise NotImplementedError("an image encoder defines feature_map")

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W) -> (B, D)`: the feature map, averaged over its positions."""
        return self.feature_map(images).mean(dim=(2, 3))

    def through(self, blocks: nn.Sequential, images: Tensor) -> Tensor:
        """`blocks(images)`; with `recompute`, only what passes between the blocks is kept for the backward pass.

        Chen et al., "Training deep nets with sublinear memory cost", 2016.
        """
        if not (self.recompute and self.training):
            features: Tensor = blocks(images)
            return features
        for block in blocks:
            images = checkpoint(block, images, use_reentrant=False, context_fn=partial(_two_passes, block))
        return images


def _two_passes(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _second_pass(block)


@contextmanager
def _second_pass(block: nn.Module) -> Iterator[None]:
    """Batch norms count a batch once, although it passes them again in the backward pass."""
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before: list[tuple[Any, Any]] = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted


image_encoders: Registry[ImageEncoder] = Registry("image encoder")


def _block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


@image_encoders.register("light_cnn")
class LightCNN(ImageEncoder):
    """`(B, C, H, W) -> (B, 128)` in 0.3 million weights, for images of about 24 to 128 pixels a side.

    Six 3x3 convolutions with batch normalisation; the first keeps the resolution, so that a lesion of a few pixels is
    still seen.
    """

    out_features = 128
    smallest = 8
    recomputes = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(channels, 24, 1),
            _block(24, 32, 2),
            _block(32, 48, 1),
            _block(48, 64, 2),
            _block(64, 96, 1),
            _block(96, 128, 2),
        )

    def feature_map(self, images: Tensor) -> Tensor:
        return self.through(self.body, images)


@image_encoders.register("resnet18")
class ResNet18(ImageEncoder):
    """`(B, C, H, W) -> (B, 512)`: torchvision's ResNet-18, trained from scratch, with a first layer of C channels.

    He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    out_features = 512
    smallest = 32
    recomputes = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        # torchvision takes a second to import, which a model without it should not pay
        from torchvision.models import resnet18

        trunk = resnet18(weights=None)
        trunk.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(trunk.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.stages = nn.Sequential(trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)

    def feature_map(self, images: Tensor) -> Tensor:
        return self.through(self.stages, self.stem(images))


def build_image_encoder(name: str, *, channels: int, size: int) -> ImageEncoder:
    """Build an image encoder for images of `channels` and `size` pixels a side.

    Raises UnknownPart for an unknown name and ValueError where the images are smaller than the encoder accepts.
    """
    encoder = image_encoders(name)(channels=channels)
    if size < encoder.smallest:
        raise ValueError(
            f"image_encoder={name!r} needs images of at least {encoder.smallest} pixels a side, image_size is {size}. "
            "Raise image_size or choose 'light_cnn'."
        )
    return encoder


def normalises_over_batch(module: nn.Module) -> bool:
    """Whether training `module` on one single row is undefined, because it normalises over the batch."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def encode_few(encoder: ImageEncoder, images: Tensor) -> Tensor:
    """`(B, C, H, W) -> (B, D)` where B may be 1 in training.

    The variance over one value is undefined, so one row alone is normalised by the running statistics instead.
    """
    if images.shape[0] > 1 or not encoder.training or not normalises_over_batch(encoder):
        features: Tensor = encoder(images)
        return features
    # those of a frozen part are not in training
    norms = [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.eval()
    try:
        features = encoder(images)
    finally:
        for norm in norms:
            norm.train()
    return features
