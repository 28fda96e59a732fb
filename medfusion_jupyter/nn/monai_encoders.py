"""MONAI's networks as encoders of volumes, `monai_…` and their names there.

MONAI is an extra of this package and takes seconds to import: it is imported when the first of them is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from typing import Any

from torch import Tensor, nn

from medfusion_jupyter.nn.image_encoders import ImageEncoder, image_encoders
from medfusion_jupyter.nn.pretrained import WeightsError, adapt_first_layer, load_weights

Parts = tuple[Iterable[nn.Module], Iterable[nn.Module], int]


class MonaiEncoder(ImageEncoder):
    """`(B, C, D, H, W) -> (B, F)`: a network of MONAI without its classifier, the mean of its last feature map as the vector.

    weights: a file of weights of one channel, such as MedicalNet's.
    """

    recomputes = True
    dimensions = 3

    def __init__(self, entry: FromMonai, channels: int, weights: str | PathLike[str] | None = None) -> None:
        super().__init__()
        network = entry.build(entry.network)
        if weights is not None:
            load_weights(network, entry.name, weights)
        adapt_first_layer(network, channels, keep_weights=weights is not None)
        stem, stages, self.out_features = entry.parts(network)
        self.stem, self.stages = nn.Sequential(*stem), nn.Sequential(*stages)
        self.smallest = entry.smallest

    def feature_map(self, images: Tensor) -> Tensor:
        return self.through(self.stages, self.stem(images))


@dataclass(frozen=True)
class FromMonai:
    """Builds one network of MONAI; the registry's entry for its name.

    network: its name in MONAI; build: makes it, for volumes of one channel; parts: its stem, its stages and the channels of the
    last; smallest and pretrainable: as of ImageEncoder.
    """

    network: str
    build: Callable[[str], Any]
    parts: Callable[[Any], Parts]
    smallest: int
    pretrainable: bool = False
    multiple_of = 1
    default_weights = False
    recomputes = True
    dimensions = 3

    @property
    def name(self) -> str:
        return f"monai_{self.network.replace('-', '_')}"

    @property
    def lacking(self) -> str | None:
        """What is to be installed first, in words."""
        if find_spec("monai") is not None:
            return None
        return (
            f"image_encoder={self.name!r} needs MONAI: pip install 'medfusion-jupyter[monai]', then restart the kernel."
        )

    def __call__(self, channels: int, weights: str | PathLike[str] | None = None) -> ImageEncoder:
        if self.lacking:
            raise ModuleNotFoundError(self.lacking, name="monai")
        if weights == "default":
            raise WeightsError(no_default_weights(self.name))
        return MonaiEncoder(self, channels, weights)


def no_default_weights(name: str) -> str:
    """What to give in place of "default"."""
    return (
        f"image_weights='default': there are no weights of {name!r} to be downloaded. Give a file of MedicalNet's "
        "(Chen et al., Med3D, 2019), such as resnet_18_23dataset.pth for 'monai_resnet18', or a job that trained the encoder."
    )


def _nets() -> Any:
    return import_module("monai.networks.nets")


def _build_resnet(name: str) -> Any:
    # in the form of MedicalNet's files, whose shortcuts are not those of MONAI's `resnet18`
    return _nets().ResNetFeatures(name, pretrained=False, spatial_dims=3, in_channels=1)


def _resnet(network: Any) -> Parts:
    stem = [network.conv1, network.bn1, network.act, network.maxpool]
    return stem, [network.layer1, network.layer2, network.layer3, network.layer4], network.in_planes


def _build_densenet(name: str) -> Any:
    return getattr(_nets(), name)(spatial_dims=3, in_channels=1, out_channels=1)


def _densenet(network: Any) -> Parts:
    layers = list(network.features)
    return layers[:4], [*layers[4:], nn.ReLU(inplace=True)], network.class_layers.out.in_features


def _build_efficientnet(name: str) -> Any:
    return _nets().EfficientNetBN(name, pretrained=False, spatial_dims=3, in_channels=1, num_classes=1)


def _efficientnet(network: Any) -> Parts:
    swish = nn.SiLU  # MONAI's own computes the same and cannot be exported
    stem = [network._conv_stem_padding, network._conv_stem, network._bn0, swish()]
    head = nn.Sequential(network._conv_head_padding, network._conv_head, network._bn1, swish())
    return stem, [*network._blocks, head], network._fc.in_features


ENTRIES = (
    *(FromMonai(f"resnet{n}", _build_resnet, _resnet, smallest=16, pretrainable=True) for n in (10, 18, 34, 50, 101)),
    *(FromMonai(f"densenet{n}", _build_densenet, _densenet, smallest=32) for n in (121, 169, 201)),
    *(FromMonai(f"efficientnet-b{n}", _build_efficientnet, _efficientnet, smallest=32) for n in range(5)),
)

for _entry in ENTRIES:
    image_encoders.register(_entry.name)(_entry)
