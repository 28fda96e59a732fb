"""The training loss of a batch, as the settings compose it; validation always reports the head's own loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfusion_jupyter.nn import Head, MultiTask
from medfusion_jupyter.training.config import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]
"""`(B, K), (B,) or (B, W) -> ()`"""


def weights_of_classes(
    wanted: str | Mapping[str, float] | Sequence[float] | None, classes: Sequence[str], targets: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """The weight of each class `(K,)`. targets: of the training rows. Raises ConfigError where names or number do not fit."""
    if wanted is None:
        return None
    if isinstance(wanted, str):
        counts = np.bincount(targets, minlength=len(classes)).clip(1)
        return (len(targets) / (len(classes) * counts)).astype(np.float32)
    if isinstance(wanted, Mapping):
        if any(isinstance(weight, str | Mapping | Sequence) for weight in wanted.values()):
            raise ConfigError(
                f"class_weights={wanted!r} names targets, and there is one: give the weights of its classes {list(classes)}."
            )
        if set(wanted) != set(classes):
            raise ConfigError(f"class_weights names {sorted(wanted)}; the classes are {list(classes)}: name each.")
        return np.asarray([wanted[name] for name in classes], dtype=np.float32)
    if len(wanted) != len(classes):
        raise ConfigError(
            f"class_weights has {len(wanted)} weights; the classes are {list(classes)}: give one for each."
        )
    return np.asarray(wanted, dtype=np.float32)


def compose_loss(head: Head, *, label_smoothing: float, class_weights: Tensor | None) -> Loss:
    """The mean loss of a batch. class_weights `(K,)`: a row counts as much as its class weighs, `Σ w l / Σ w`.

    Label smoothing: Szegedy et al., CVPR 2016.
    """
    if class_weights is None and not label_smoothing:
        return head.loss
    if class_weights is None:
        return lambda outputs, target: head.row_losses(outputs, target, label_smoothing).mean()

    def weighted(outputs: Tensor, target: Tensor) -> Tensor:
        weight = class_weights.index_select(0, target)
        return (weight * head.row_losses(outputs, target, label_smoothing)).sum() / weight.sum()

    return weighted


def loss_of_parts(head: Head, *, label_smoothing: float, class_weights: Mapping[str, Tensor]) -> Loss:
    """The mean loss of a batch for a head, or for several side by side. class_weights: by the name of the part.

    Of several, those that do not weigh rows have their own loss.
    """
    losses = {
        name: compose_loss(
            part, label_smoothing=label_smoothing if part.weighs_rows else 0.0, class_weights=class_weights.get(name)
        )
        for name, part in head.parts.items()
    }
    if isinstance(head, MultiTask):
        return partial(head.loss, of_heads=losses)
    return losses[""]


def mixed_loss(head: Head, *, label_smoothing: float, class_weights: Tensor | None) -> Callable[..., Tensor]:
    """`(B, K), (B,), (B,), share -> ()`: the mean loss of a batch whose rows are mixed with partners."""

    def mixed(outputs: Tensor, target: Tensor, partners: Tensor, share: float) -> Tensor:
        own = head.row_losses(outputs, target, label_smoothing)
        other = head.row_losses(outputs, partners, label_smoothing)
        if class_weights is None:
            return (share * own + (1 - share) * other).mean()
        of_own = share * class_weights.index_select(0, target)
        of_other = (1 - share) * class_weights.index_select(0, partners)
        return (of_own * own + of_other * other).sum() / (of_own + of_other).sum()

    return mixed


def shares_of_steps(
    rows: Sequence[NDArray[np.int64]], row_weights: NDArray[np.float64], accumulate: int
) -> list[float]:
    """What the mean loss of each batch counts in the mean over its step's batches: the last, shorter ones have their due.

    rows: of each batch of an epoch; row_weights: of each row of the cohort. A loss that compares rows, as Cox's does, compares
    those of a batch.
    """
    sums = [float(row_weights[batch].sum()) for batch in rows]
    shares = []
    for start in range(0, len(sums), accumulate):
        of_step = sums[start : start + accumulate]
        # a step in which nothing counts, as where all are censored, has no loss to share
        shares += [one / (sum(of_step) or 1.0) for one in of_step]
    return shares


def to_device(weights: Mapping[str, NDArray[np.float32]], device: str) -> dict[str, Tensor]:
    """Class weights where the loss is computed."""
    return {name: torch.from_numpy(of_part).to(device) for name, of_part in weights.items()}
