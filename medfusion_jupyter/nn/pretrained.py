"""Weights to start from: torchvision's own, or a file of its or MedicalNet's; and a first layer for any number of channels."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.", "aux", "AuxLogits.")
"""Beginnings of the names of what torchvision's networks have beside the trunk."""

_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


class WeightsError(RuntimeError):
    """Weights that cannot be had, read or used."""


def load_weights(network: nn.Module, name: str, weights: str | PathLike[str]) -> None:
    """Put weights into the network `name`, all but its classifier.

    weights: "default" for torchvision's best, downloaded once into the folder `checkpoints` of `torch.hub.get_dir()` and
    checked against the digest in its name; else a file. Nothing is unpickled but tensors. Raises WeightsError.
    """
    file = default_file(name) if weights == "default" else Path(weights).expanduser()
    state = _read(file)
    if name.startswith("vit_"):
        state = _with_positions(network, state)
    own = network.state_dict()
    usable = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    needed = [key for key in own if not key.startswith(CLASSIFIERS) and not key.endswith("num_batches_tracked")]
    lacking = [key for key in needed if key not in usable]
    if lacking:
        reason = "has the wrong shape" if lacking[0] in state else "is missing"
        raise WeightsError(
            f"The weights in {file} do not fit {name!r}: {lacking[0]} {reason} ({len(lacking)} of {len(needed)} tensors do not "
            "fit). Give the file of that very network, with the names that torchvision (or MedicalNet) gives its tensors."
        )
    complete = OrderedDict({**own, **usable})
    # torchvision's MNASNet asks the file for the version of its layout
    complete._metadata = getattr(state, "_metadata", None) or own._metadata  # type: ignore[attr-defined]
    network.load_state_dict(complete)


def default_file(name: str) -> Path:
    """The file of torchvision's default weights for a network; downloaded where it is not there yet. Raises WeightsError."""
    from torchvision.models import get_model_weights

    url: str = get_model_weights(name).DEFAULT.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / PurePosixPath(urlparse(url).path).name
    if file.exists():
        return file
    digest = re.search(r"-([0-9a-f]{8,})\.", file.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), digest[1] if digest else None)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"The pretrained weights of {name!r} cannot be downloaded: {error}. Fetch {url} where there is a network and put "
            f"the file {file.name} into {folder}; or leave the weights out to start from random ones."
        ) from error
    return file


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        saved: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = "it does not exist" if not file.exists() else str(error).splitlines()[0]
        raise WeightsError(
            f"The weights in {file} cannot be read: {reason}. Give a .safetensors file, or a torch file that holds "
            "tensors alone (torch.save of a state_dict)."
        ) from error
    for wrapping in ("state_dict", "model"):
        if isinstance(saved, Mapping) and isinstance(saved.get(wrapping), Mapping):
            saved = saved[wrapping]
    if not isinstance(saved, Mapping):
        raise WeightsError(f"The weights in {file} are a {type(saved).__name__}, not tensors by name (a state_dict).")
    renamed: OrderedDict[str, Tensor] = OrderedDict(
        (_OLD_DENSENET.sub(r"\1\2", key.removeprefix("module.")), value) for key, value in saved.items()
    )
    renamed._metadata = getattr(saved, "_metadata", None)  # type: ignore[attr-defined]
    return renamed


def _with_positions(network: Any, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A vision transformer's positions, interpolated from the grid of the file to that of the network."""
    from torchvision.models.vision_transformer import interpolate_embeddings

    if "encoder.pos_embedding" not in state:
        return state
    interpolated: Mapping[str, Tensor] = interpolate_embeddings(
        network.image_size, network.patch_size, OrderedDict(state)
    )
    return interpolated


def adapt_first_layer(network: nn.Module, channels: int, *, keep_weights: bool) -> None:
    """Replace the first convolution, which takes 3 channels (or, of volumes, one), by one that takes `channels`.

    keep_weights: its filters are made from those of red, green and blue, as timm does: for one channel their sum, so that a
    grey image gives what the same image did in three equal channels; for more they are repeated in turn and scaled, so that
    equal channels give what they gave. Else they are drawn anew, at the scale that leaves the size of the response as it was.
    """
    path, old = next(
        (path, module) for path, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Conv3d)
    )
    if channels == old.in_channels:
        return
    new = type(old)(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        if keep_weights and channels == 1:
            new.weight.copy_(old.weight.sum(dim=1, keepdim=True))
        elif keep_weights:
            turns = torch.arange(channels) % old.in_channels
            new.weight.copy_(old.weight[:, turns] * (old.in_channels / channels))
        else:
            new.weight.normal_(std=float(old.weight.std()) * (old.in_channels / channels) ** 0.5)
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    parent, _, last = path.rpartition(".")
    setattr(network.get_submodule(parent), last, new)
