"""Heads: the fused vector `(B, D)` to outputs, with the loss they are trained by and the prediction they mean.

Here are the contract and the heads of classes; regression_heads.py, survival_heads.py and multi_task.py hold the others.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medfusion_jupyter.nn.registry import Registry


class Head(nn.Module):
    """The contract of a head, built from `in_features`, D, and `num_classes`, whose meaning each head tells.

    Outputs are linear in the fused vector, which is what lets late fusion average logits. weighs_rows: whether it defines
    `row_losses`, which class weights, label smoothing, mixup and CutMix need; its `loss` is then their mean without
    smoothing. task: the kind of target that it learns: "classification", "multilabel", "ordinal", "regression" or "survival", or
    "multi_task" for several of these; outputs: its `num_classes` for a target that names no classes. target_width: how many
    columns a target has; 1 is a target `(B,)`, more a target `(B, target_width)`; target_dtype: its type; skips_unknown: whether
    single numbers of a target may be NaN, which then do not count.
    """

    task: ClassVar[str] = "classification"
    outputs: ClassVar[int] = 1
    weighs_rows: ClassVar[bool] = False
    target_width: int = 1
    target_dtype: ClassVar[torch.dtype] = torch.float32
    skips_unknown: ClassVar[bool] = False

    @property
    def parts(self) -> dict[str, Head]:
        """The heads that learn side by side, by the name of their task; one alone under no name."""
        return {"": self}

    @property
    def output_width(self) -> int:
        """How many raw outputs it has, K."""
        return next(layer.out_features for layer in self.modules() if isinstance(layer, nn.Linear))

    def of_parts(self, outputs: Tensor) -> dict[str, Tensor]:
        """The outputs of each of `parts`."""
        return {"": outputs}

    def fit(self, target: Tensor) -> None:
        """Learn from all targets of the training part, once before training, what the loss must know of them, such as their
        scale. It is kept in buffers, so that it is stored with the weights. Most heads need nothing."""

    @property
    def fits_outputs(self) -> bool:
        """Whether `fit_outputs` has something to learn."""
        return False

    def fit_outputs(self, outputs: Tensor, target: Tensor) -> None:
        """Learn from what the trained model says of all rows of the training part, `(N, K)`, once after training, what a
        prediction needs beside its outputs. It is kept in buffers, so that it is stored with the weights."""

    def forward(self, fused: Tensor) -> Tensor:
        """`(B, D) -> (B, K)` raw outputs."""
        raise NotImplementedError("a head defines forward")

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """`(B, K), (B,) or (B, target_width) -> ()`: the mean loss over the batch."""
        raise NotImplementedError("a head defines loss")

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """`(B, K), (B,) -> (B,)`: the loss of each row. label_smoothing: share of the target spread evenly over the classes."""
        raise NotImplementedError("a head that weighs rows defines row_losses")

    def row_counts(self, target: Tensor) -> Tensor:
        """`(N,) or (N, target_width) -> (N,)`: how much each row counts in the mean that `loss` is."""
        return torch.ones(len(target), device=target.device)

    def predict(self, outputs: Tensor) -> Tensor:
        """`(B, K) -> (B, P)`: what the outputs mean, such as probabilities."""
        raise NotImplementedError("a head defines predict")


heads: Registry[Head] = Registry("head")


def linear_layer(in_features: int, outputs: int) -> nn.Sequential:
    """What every head begins with: dropout 0.1 and a linear layer."""
    return nn.Sequential(nn.Dropout(0.1), nn.Linear(in_features, outputs))


def mean_where(losses: Tensor, known: Tensor) -> Tensor:
    """The mean of `losses` where `known`; 0, with gradients of 0, where nothing is."""
    return torch.where(known, losses, 0.0).sum() / known.sum().clamp_min(1)


@heads.register("classification")
class Classification(Head):
    """One of `num_classes` classes: softmax cross-entropy.

    Outputs are logits `(B, K)`, targets class numbers `(B,)` int64, predictions probabilities `(B, K)`.
    """

    weighs_rows = True
    target_dtype = torch.int64

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = linear_layer(in_features, num_classes)

    def forward(self, fused: Tensor) -> Tensor:
        logits: Tensor = self.linear(fused)
        return logits

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(outputs.float(), target)

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(outputs.float(), target, reduction="none", label_smoothing=label_smoothing)

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(dim=1)


@heads.register("focal")
class Focal(Classification):
    """One of `num_classes` classes, rows that are right already counting less: `-(1 - p)² log p` of the true class.

    Shapes as of Classification. Its probabilities lean to the middle. Lin et al., "Focal loss for dense object detection",
    ICCV 2017.
    """

    gamma = 2.0

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return self.row_losses(outputs, target).mean()

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        log_p = outputs.float().log_softmax(dim=1)
        of_classes = -((1 - log_p.exp()) ** self.gamma) * log_p
        true = of_classes.gather(1, target.unsqueeze(1)).squeeze(1)
        return (1 - label_smoothing) * true + label_smoothing * of_classes.mean(dim=1)


@heads.register("multilabel")
class Multilabel(Head):
    """Any of `num_classes` findings: binary cross-entropy for each.

    Outputs are logits `(B, K)`, targets `(B, K)` float of 0 and 1, where NaN is not known and does not count; predictions are
    probabilities `(B, K)`, each between 0 and 1 for itself.
    """

    task = "multilabel"
    skips_unknown = True

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.target_width = num_classes
        self.linear = linear_layer(in_features, num_classes)

    def forward(self, fused: Tensor) -> Tensor:
        logits: Tensor = self.linear(fused)
        return logits

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        target = target.float().reshape(outputs.shape)
        known = ~target.isnan()
        losses = functional.binary_cross_entropy_with_logits(outputs.float(), target.nan_to_num(), reduction="none")
        return mean_where(losses, known)

    def row_counts(self, target: Tensor) -> Tensor:
        return (~target.isnan()).reshape(len(target), -1).sum(dim=1).float()

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.float().sigmoid()


@heads.register("ordinal")
class Ordinal(Head):
    """One of `num_classes` grades in their order, by conditional thresholds (CORN).

    Outputs are `(B, K - 1)` logits of "above grade k, given at least k"; targets grades `(B,)` int64 from 0; predictions
    probabilities `(B, K)`, whose cumulative sums are in order. The loss is the mean over all rows and thresholds that bear on
    them.

    Shi, Cao and Raschka, "Deep neural networks for rank-consistent ordinal regression based on conditional probabilities",
    Pattern Analysis and Applications 2023 (arXiv 2021).
    """

    task = "ordinal"
    target_dtype = torch.int64

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"head='ordinal' needs 2 or more grades, there are {num_classes}.")
        self.thresholds = num_classes - 1
        self.linear = linear_layer(in_features, self.thresholds)

    def forward(self, fused: Tensor) -> Tensor:
        logits: Tensor = self.linear(fused)
        return logits

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        threshold = torch.arange(outputs.shape[1], device=outputs.device)
        above = (target.unsqueeze(1) > threshold).float()
        losses = functional.binary_cross_entropy_with_logits(outputs.float(), above, reduction="none")
        return mean_where(losses, target.unsqueeze(1) >= threshold)

    def row_counts(self, target: Tensor) -> Tensor:
        # every threshold up to the grade bears on a row, and the first above it
        return (target + 1).clamp_max(self.thresholds).float()

    def predict(self, outputs: Tensor) -> Tensor:
        above = outputs.float().sigmoid().cumprod(dim=1)
        edge = torch.ones_like(above[:, :1])
        return torch.cat([edge, above], dim=1) - torch.cat([above, torch.zeros_like(edge)], dim=1)
