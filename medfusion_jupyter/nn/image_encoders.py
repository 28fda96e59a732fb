"""Image encoders: `(B, C, H, W) -> (B, D)`, and the feature map that the vector was pooled from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from os import PathLike
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medfusion_jupyter.nn.encoded import Encoded, positions_as_tokens
from medfusion_jupyter.nn.registry import Registry

Size = int | tuple[int, int, int]
"""Pixels a side of an image, or of each of (D, H, W) of a volume."""


class ImageEncoder(nn.Module):
    """The contract of an image encoder; of volumes too, where `(B, C, D, H, W)` stands for `(B, C, H, W)`.

    `out_features` is D, the length of the vector and of each token. What it accepts:

    smallest: the shortest side in pixels; multiple_of: a side is a multiple of this; dimensions: 2 for images, 3 for
    volumes. What its builder takes beside `channels`: `size` (pixels a side) where it is `sized`, which means that it
    is built for one size alone, and `weights` where it is `pretrainable`. Where a builder needs a package that is not there,
    its `lacking` says which.

    An encoder that sends its images `through` blocks sets `recomputes`: then `recompute` turns gradient checkpointing on.
    """

    out_features: int
    smallest: int
    multiple_of: int = 1
    dimensions: int = 2
    sized: ClassVar[bool] = False
    pretrainable: ClassVar[bool] = False
    recomputes: ClassVar[bool] = False
    recompute = False

    def feature_map(self, images: Tensor) -> Tensor:
        """`(B, C, H, W) -> (B, D, h, w)`: the last feature map before pooling."""
        raise NotImplementedError("an image encoder defines feature_map")

    def encode(self, images: Tensor) -> Encoded:
        """`(B, C, H, W) -> ` vector `(B, D)`, the mean over the positions of the map, and tokens `(B, h·w, D)`, the positions."""
        features = self.feature_map(images)
        return Encoded(features.flatten(2).mean(dim=2), positions_as_tokens(features))

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W) -> (B, D)`: the vector alone."""
        return self.encode(images).vector

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


def build_image_encoder(
    name: str, *, channels: int, size: Size, weights: str | PathLike[str] | None = None
) -> ImageEncoder:
    """Build an image encoder for images of `channels` and `size` pixels a side; (D, H, W) for volumes.

    weights: None starts from random weights; "default" takes torchvision's best; else a file of torchvision's weights, or
    of MedicalNet's for MONAI's ResNets (.safetensors, or a torch file that holds tensors alone). Raises UnknownPart for an
    unknown name, ValueError where the encoder does not accept such images or has no weights to start from,
    ModuleNotFoundError where it is of a package that is not installed, and WeightsError where weights cannot be had.
    """
    builder: Any = image_encoders(name)
    wanted: dict[str, Any] = {"channels": channels}
    if getattr(builder, "sized", False):
        wanted["size"] = size
    if weights is not None:
        if not getattr(builder, "pretrainable", False):
            raise ValueError(
                f"image_encoder={name!r} has no pretrained weights to start from; leave weights={str(weights)!r} out, or choose "
                "one of torchvision's encoders, such as 'resnet18'."
            )
        wanted["weights"] = weights
    if hasattr(builder, "smallest"):
        refuse_size(builder, name, size)  # before a large network is built in vain
    encoder: ImageEncoder = builder(**wanted)
    refuse_size(encoder, name, size)
    return encoder


def refuse_size(encoder: Any, name: str, size: Size) -> None:
    """Raise ValueError where an encoder, or what builds it, does not accept images of that size."""
    for side in (size,) if isinstance(size, int) else size:
        if side < encoder.smallest:
            small = f"{name}_3x3" if f"{name}_3x3" in image_encoders else "light_cnn"
            small = small if getattr(encoder, "dimensions", 2) == 2 else "light_cnn_3d"
            raise ValueError(
                f"image_encoder={name!r} needs images of at least {encoder.smallest} pixels a side, image_size is {size}. "
                f"Raise image_size or choose {small!r}."
            )
        if side % encoder.multiple_of:
            above = -(-side // encoder.multiple_of) * encoder.multiple_of
            raise ValueError(
                f"image_encoder={name!r} needs images whose side is a multiple of {encoder.multiple_of} pixels, "
                f"image_size is {size}. Set image_size={above}."
            )


def normalises_over_batch(module: nn.Module) -> bool:
    """Whether training `module` on one single row is undefined, because it normalises over the batch."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def encode_few(encoder: ImageEncoder, images: Tensor, *, tokens: bool = False) -> Encoded:
    """`(B, C, H, W) -> ` vector `(B, D)`, and tokens where they are asked for; B may be 1 in training.

    The variance over one value is undefined, so one row alone is normalised by the running statistics instead.
    """
    if images.shape[0] > 1 or not encoder.training or not normalises_over_batch(encoder):
        return encoder.encode(images) if tokens else Encoded(encoder(images))
    # those of a frozen part are not in training
    norms = [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.eval()
    try:
        return encoder.encode(images) if tokens else Encoded(encoder(images))
    finally:
        for norm in norms:
            norm.train()
