"""torchvision's classification networks as image encoders, by their names there.

torchvision takes seconds to import, so it is imported when the first of them is built; their names are listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.encoded import Encoded, positions_as_tokens
from medfusion_jupyter.nn.image_encoders import ImageEncoder, image_encoders
from medfusion_jupyter.nn.pretrained import adapt_first_layer, load_weights

Parts = tuple[Iterable[nn.Module], Iterable[nn.Module], int]


@dataclass(frozen=True)
class Family:
    """Networks that are taken apart alike.

    names: as torchvision has them; parts: of a network its stem, its stages and the number of channels of the last, or None
    for vision transformers, which are no row of feature maps; smallest, multiple_of, sized, dimensions: as of ImageEncoder;
    small_stem: puts a 3×3 stem in place of one that halves the resolution twice; options: keywords of torchvision's builder.
    """

    names: tuple[str, ...]
    parts: Callable[[Any], Parts] | None
    smallest: int = 32
    multiple_of: int = 1
    sized: bool = False
    dimensions: int = 2
    small_stem: Callable[[Any], None] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class TorchvisionEncoder(ImageEncoder):
    """`(B, C, H, W) -> (B, D)`: a network of torchvision without its classifier, the mean of its last feature map as the vector.

    small_stem: the first layer is 3×3 and keeps the resolution, and no pooling follows, for images of up to about 64 pixels
    a side; weights: as of `build_image_encoder`, of which a small stem takes all but the first layer.
    """

    recomputes = True

    def __init__(
        self,
        name: str,
        family: Family,
        channels: int,
        *,
        small_stem: bool = False,
        size: int | None = None,
        weights: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        network = _build(name, family, size)
        if weights is not None:
            load_weights(network, name, weights)
        if small_stem:
            assert family.small_stem is not None
            family.small_stem(network)
        adapt_first_layer(network, channels, keep_weights=weights is not None and not small_stem)
        assert family.parts is not None
        stem, stages, self.out_features = family.parts(network)
        self.stem, self.stages = nn.Sequential(*stem), nn.Sequential(*stages)
        self.smallest, self.multiple_of, self.dimensions = family.smallest, family.multiple_of, family.dimensions
        if small_stem:
            self.smallest = SMALLEST_OF_SMALL_STEM

    def feature_map(self, images: Tensor) -> Tensor:
        return self.through(self.stages, self.stem(images))


class TorchvisionViT(ImageEncoder):
    """`(B, C, S, S) -> (B, D)`: a vision transformer for images of S pixels a side; the vector is its class token.

    The tokens are those of the patches, the feature map is their grid. Dosovitskiy et al., ICLR 2021.
    """

    recomputes = True
    sized = True

    def __init__(
        self,
        name: str,
        family: Family,
        channels: int,
        *,
        size: int | None = None,
        weights: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        network = _build(name, family, size)
        if weights is not None:
            load_weights(network, name, weights)
        adapt_first_layer(network, channels, keep_weights=weights is not None)
        self.smallest, self.multiple_of = family.smallest, family.multiple_of
        self.out_features: int = network.hidden_dim
        self.patches = network.conv_proj
        self.class_token, self.positions = network.class_token, network.encoder.pos_embedding
        self.dropout = network.encoder.dropout
        self.stages, self.norm = network.encoder.layers, network.encoder.ln

    def feature_map(self, images: Tensor) -> Tensor:
        tokens = self.encode(images).tokens
        assert tokens is not None
        grid = images.shape[2] // self.multiple_of
        return tokens.transpose(1, 2).reshape(len(images), -1, grid, grid)

    def encode(self, images: Tensor) -> Encoded:
        patches = positions_as_tokens(self.patches(images))
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), patches], dim=1) + self.positions
        tokens = self.norm(self.through(self.stages, self.dropout(tokens)))
        return Encoded(tokens[:, 0], tokens[:, 1:])


def _build(name: str, family: Family, size: int | None) -> Any:
    from torchvision.models import get_model_builder, maxvit

    if name == "maxvit_t" and size is not None and size % 224:
        # its windows are 1/32 of the side; torchvision's own are 7 pixels, which fit multiples of 224 alone
        return maxvit.MaxVit(
            input_size=(size, size),
            stem_channels=64,
            block_channels=[64, 128, 256, 512],
            block_layers=[2, 2, 5, 2],
            head_dim=32,
            stochastic_depth_prob=0.2,
            partition_size=size // 32,
        )
    options = dict(family.options)
    if family.sized:
        side = 224 if size is None else size
        options |= {"input_size": (side, side)} if name == "maxvit_t" else {"image_size": side}
    return get_model_builder(name)(weights=None, **options)


def _resnet(network: Any) -> Parts:
    stem = [network.conv1, network.bn1, network.relu, network.maxpool]
    return stem, [network.layer1, network.layer2, network.layer3, network.layer4], network.fc.in_features


def _densenet(network: Any) -> Parts:
    layers = list(network.features)
    return layers[:4], [*layers[4:], nn.ReLU(inplace=True)], network.classifier.in_features


def _features(network: Any) -> Parts:
    """EfficientNet and MobileNet: the first of the features is the stem."""
    linear = next(layer for layer in network.classifier if isinstance(layer, nn.Linear))
    return [network.features[0]], network.features[1:], linear.in_features


def _convnext(network: Any) -> Parts:
    stem, stages, width = _features(network)
    return stem, [*stages, network.classifier[0]], width  # its last layer norm is in the classifier


def _until_pools(network: Any) -> Parts:
    """AlexNet, SqueezeNet, VGG: a plain row of layers, in stages that end where pixels are pooled."""
    stages: list[list[nn.Module]] = [[]]
    for layer in network.features:
        stages[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            stages.append([])
    rows = [nn.Sequential(*stage) for stage in stages if stage]
    widths = {"AlexNet": 256, "SqueezeNet": 512, "VGG": 512}
    return rows[:1], rows[1:], widths[type(network).__name__]


def _swin(network: Any) -> Parts:
    return [network.features[0]], [*network.features[1:], network.norm, network.permute], network.head.in_features


def _maxvit(network: Any) -> Parts:
    return [network.stem], network.blocks, network.classifier[-1].in_features


def _regnet(network: Any) -> Parts:
    return [network.stem], network.trunk_output, network.fc.in_features


def _shufflenet(network: Any) -> Parts:
    stages = [network.stage2, network.stage3, network.stage4, network.conv5]
    return [network.conv1, network.maxpool], stages, network.fc.in_features


def _mnasnet(network: Any) -> Parts:
    layers = list(network.layers)
    return layers[:3], layers[3:], network.classifier[-1].in_features


def _named(network: Any, stem: str, *stages: str) -> Parts:
    """By the names of layers, in their order; each stage's are in one string."""
    rows = [nn.Sequential(*(getattr(network, name) for name in row.split())) for row in (stem, *stages)]
    return rows[:1], rows[1:], network.fc.in_features


def _googlenet(network: Any) -> Parts:
    return _named(
        network,
        "conv1 maxpool1",
        "conv2 conv3 maxpool2",
        "inception3a inception3b maxpool3",
        "inception4a inception4b inception4c inception4d inception4e maxpool4",
        "inception5a inception5b",
    )


def _inception(network: Any) -> Parts:
    return _named(
        network,
        "Conv2d_1a_3x3",
        "Conv2d_2a_3x3 Conv2d_2b_3x3 maxpool1",
        "Conv2d_3b_1x1 Conv2d_4a_3x3 maxpool2",
        "Mixed_5b Mixed_5c Mixed_5d",
        "Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e",
        "Mixed_7a Mixed_7b Mixed_7c",
    )


def _video_resnet(network: Any) -> Parts:
    return network.stem, [network.layer1, network.layer2, network.layer3, network.layer4], network.fc.in_features


def _small_conv(old: nn.Conv2d) -> nn.Conv2d:
    new = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new


def _small_resnet_stem(network: Any) -> None:
    network.conv1 = _small_conv(network.conv1)
    network.maxpool = nn.Identity()


def _small_densenet_stem(network: Any) -> None:
    network.features.conv0 = _small_conv(network.features.conv0)
    network.features.pool0 = nn.Identity()


def _small_shufflenet_stem(network: Any) -> None:
    network.conv1[0] = _small_conv(network.conv1[0])
    network.maxpool = nn.Identity()


SMALLEST_OF_SMALL_STEM = 8

FAMILIES = (
    Family(("alexnet",), _until_pools, smallest=64),
    Family(tuple(f"convnext_{size}" for size in ("tiny", "small", "base", "large")), _convnext),
    Family(tuple(f"densenet{n}" for n in (121, 161, 169, 201)), _densenet, small_stem=_small_densenet_stem),
    Family(tuple(f"efficientnet_b{n}" for n in range(8)), _features),
    Family(tuple(f"efficientnet_v2_{size}" for size in "sml"), _features),
    Family(("googlenet",), _googlenet, options={"aux_logits": False, "init_weights": True}),
    Family(("inception_v3",), _inception, smallest=80, options={"aux_logits": False, "init_weights": True}),
    Family(("maxvit_t",), _maxvit, smallest=64, multiple_of=32, sized=True),
    Family(tuple(f"mnasnet{depth}" for depth in ("0_5", "0_75", "1_0", "1_3")), _mnasnet),
    Family(("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"), _features),
    Family(
        tuple(f"regnet_x_{flops}" for flops in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf"))
        + tuple(f"regnet_y_{flops}" for flops in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf", "128gf")),
        _regnet,
    ),
    Family(
        (
            *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
            *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
        ),
        _resnet,
        small_stem=_small_resnet_stem,
    ),
    Family(
        tuple(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")),
        _shufflenet,
        small_stem=_small_shufflenet_stem,
    ),
    Family(("squeezenet1_0", "squeezenet1_1"), _until_pools),
    Family(tuple(f"swin_{version}{size}" for version in ("", "v2_") for size in "tsb"), _swin),
    Family(tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")), _until_pools),
    Family(("vit_b_16", "vit_l_16"), None, multiple_of=16, sized=True),
    Family(("vit_b_32", "vit_l_32"), None, smallest=64, multiple_of=32, sized=True),
    Family(("vit_h_14",), None, smallest=28, multiple_of=14, sized=True),
    Family(("r3d_18", "mc3_18", "r2plus1d_18"), _video_resnet, smallest=16, dimensions=3),
)


@dataclass(frozen=True)
class FromTorchvision:
    """Builds one network; the registry's entry for its name, and for its name with `_3x3` where that has a small stem."""

    name: str
    family: Family
    small_stem: bool = False
    pretrainable = True
    recomputes = True

    @property
    def smallest(self) -> int:
        return SMALLEST_OF_SMALL_STEM if self.small_stem else self.family.smallest

    @property
    def multiple_of(self) -> int:
        return self.family.multiple_of

    @property
    def dimensions(self) -> int:
        return self.family.dimensions

    @property
    def sized(self) -> bool:
        return self.family.sized

    def __call__(
        self, channels: int, size: int | None = None, weights: str | PathLike[str] | None = None
    ) -> ImageEncoder:
        if self.family.parts is None:
            return TorchvisionViT(self.name, self.family, channels, size=size, weights=weights)
        return TorchvisionEncoder(
            self.name, self.family, channels, small_stem=self.small_stem, size=size, weights=weights
        )


for _family in FAMILIES:
    for _name in _family.names:
        image_encoders.register(_name)(FromTorchvision(_name, _family))
        if _family.small_stem is not None:
            image_encoders.register(f"{_name}_3x3")(FromTorchvision(_name, _family, small_stem=True))
