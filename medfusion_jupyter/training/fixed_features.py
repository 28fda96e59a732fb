"""What a frozen image encoder makes of the images of a cohort: computed once, kept on the disk, read by every run after."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from medfusion_jupyter.data.batches import Batch
from medfusion_jupyter.data.cache_memory import cache_memory
from medfusion_jupyter.data.stored_arrays import alone, read_array, write_array
from medfusion_jupyter.nn import Encoded, FusionModel
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.devices import autocast
from medfusion_jupyter.training.preparation import Prepared

log = logging.getLogger("medfusion")

FORMAT = 1
FREE_SHARE = 0.25
"""Unless they are asked for, features are kept where they take at most this share of the free disk."""


def read_features_once(
    prepared: Prepared,
    model: FusionModel,
    config: TrainingConfig,
    device: str,
    *,
    cache_dir: Path,
    check: Callable[[], None] = lambda: None,
) -> bool:
    """Let the batches of a run hold features in place of images, where these are the same in every epoch; whether they do.

    The file is named by the weights, the pixels and how these are normalised; it is safe to delete. check: called between
    batches, raises where the run is to end. Raises ConfigError where the features were asked for and cannot be kept.
    """
    pixels = prepared.train.pixel_cache
    fixed = config.why_features_change() is None and len(model.image_encoders) == 1 and model.aggregator is None
    if not fixed or pixels is None or config.cache_features is False or config.devices > 1:
        return False
    encoding = _Encoding(prepared, model, config, device, check)
    features = _kept(encoding, cache_dir / f"{encoding.key(pixels.key)[:40]}.npy", insist=bool(config.cache_features))
    if features is None:
        return False
    for source in (prepared.train, prepared.val):
        source.read_features(features)
    return True


def _kept(encoding: _Encoding, array: Path, *, insist: bool) -> NDArray[np.float32] | None:
    """The features in the file `array`, made now where they are not there; None where there is no place for them."""
    card = array.with_suffix(".json")
    with alone(array.with_suffix(".lock")):  # two processes would make the same
        found = read_array(array, card, cache_memory())
        if found is None:
            needed = encoding.num_bytes / 1e6
            if not insist and encoding.num_bytes > FREE_SHARE * shutil.disk_usage(array.parent).free:
                log.warning("The features of the images take %.0f MB: they are computed in each epoch.", needed)
                return None
            try:
                write_array(array, card, encoding.shape, np.float32, encoding.parts())
            except OSError as error:
                said = f"The features of the images ({needed:.0f} MB) could not be written to {array.parent}: {error}."
                if insist:
                    raise ConfigError(f"{said} Free some space, or leave cache_features out.") from error
                log.warning("%s They are computed in each epoch.", said)
                return None
            found = read_array(array, card, cache_memory())
    return None if found is None else found[0]


def inputs_of(batch: Batch) -> tuple[Any, ...]:
    """What a model takes of a batch; what was made of the images earlier, where the batch has it in place of them."""
    images: tuple[Tensor | Encoded, ...] = batch.images
    if batch.features:
        images = tuple(Encoded(one[:, 0], one[:, 1:] if one.shape[1] > 1 else None) for one in batch.features)
    return images, batch.numeric, batch.codes, batch.present, batch.all_present, batch.instances


class _Encoding:
    """The encoder of a run at work on all images of the pixel cache."""

    def __init__(
        self,
        prepared: Prepared,
        model: FusionModel,
        config: TrainingConfig,
        device: str,
        check: Callable[[], None],
    ) -> None:
        self._encoder = model.image_encoders[0].eval()
        self._tokens = model.fusion.uses_tokens
        self._prepared = prepared
        self._config = config
        self._device = device
        self._check = check
        first = next(prepared.train.every_image())[:1]
        assert prepared.train.pixel_cache is not None
        self.shape = (len(prepared.train.pixel_cache.pixels), *self._features(first).shape[1:])
        """`(S, 1 + T, D)`"""

    @property
    def num_bytes(self) -> int:
        return 4 * int(np.prod(self.shape))

    def key(self, of_pixels: str) -> str:
        """Tells these features from others."""
        spec = self._prepared.spec
        weights = save({name: value.detach().cpu().contiguous() for name, value in self._encoder.state_dict().items()})
        said = [
            FORMAT,
            self._prepared.architecture.image_encoder,
            of_pixels,
            spec.mean,
            spec.std,
            self._tokens,
            self._config.precision,
            self._device.split(":")[0],
            torch.__version__,
        ]
        return hashlib.sha256(json.dumps(said).encode() + weights).hexdigest()

    def parts(self) -> Iterator[NDArray[np.float32]]:
        """The features of all images, a batch at a time."""
        for images in self._prepared.train.every_image():
            self._check()
            yield self._features(images)

    @torch.inference_mode()
    def _features(self, images: Tensor) -> NDArray[np.float32]:
        with autocast(self._device, self._config.precision):
            if self._tokens:
                vector, tokens, _ = self._encoder.encode(images)
                assert tokens is not None
                both = torch.cat([vector.unsqueeze(1), tokens], dim=1)
            else:
                both = self._encoder(images).unsqueeze(1)
        features: NDArray[np.float32] = both.float().cpu().numpy()
        return features
