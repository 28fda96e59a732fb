"""Heads: the fused vector `(B, D)` to outputs, with the loss they are trained by and the prediction they mean."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from medfusion_jupyter.nn.registry import Registry


class Head(nn.Module):
    """The contract of a head.

    weighs_rows: whether it defines `row_losses`, which class weights, label smoothing, mixup and CutMix need. Its `loss` is then
    their mean without smoothing.
    """

    weighs_rows: ClassVar[bool] = False

    def forward(self, fused: Tensor) -> Tensor:
        """`(B, D) -> (B, K)` raw outputs."""
        raise NotImplementedError("a head defines forward")

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """`(B, K), (B,) -> ()`: the mean loss over the batch."""
        raise NotImplementedError("a head defines loss")

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """`(B, K), (B,) -> (B,)`: the loss of each row. label_smoothing: share of the target spread evenly over the classes."""
        raise NotImplementedError("a head that weighs rows defines row_losses")

    def predict(self, outputs: Tensor) -> Tensor:
        """`(B, K) -> (B, K)`: what the outputs mean, such as probabilities."""
        raise NotImplementedError("a head defines predict")


heads: Registry[Head] = Registry("head")


@heads.register("classification")
class Classification(Head):
    """One of `num_classes` classes: dropout 0.1, a linear layer, softmax cross-entropy; predicts probabilities `(B, K)`."""

    weighs_rows = True

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Sequential(nn.Dropout(0.1), nn.Linear(in_features, num_classes))

    def forward(self, fused: Tensor) -> Tensor:
        logits: Tensor = self.linear(fused)
        return logits

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(outputs.float(), target)

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(outputs.float(), target, reduction="none", label_smoothing=label_smoothing)

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(dim=1)
