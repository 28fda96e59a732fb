"""Heads for numbers. Each learns in units of the training part's standard deviation, so that a learning rate fits any unit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from medfusion_jupyter.nn.heads import Head, heads, linear_layer, mean_where


@heads.register("regression")
class Regression(Head):
    """`num_classes` numbers: mean squared error.

    Outputs `(B, K)` are in standard deviations of the training part; targets `(B,)` for one number or `(B, K)`, float, where
    NaN is not known and does not count; predictions `(B, K)` in the unit of the targets.
    """

    task = "regression"
    skips_unknown = True
    mean: Tensor
    std: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.target_width = num_classes
        self.linear = linear_layer(in_features, num_classes)
        self.register_buffer("mean", torch.zeros(num_classes))
        self.register_buffer("std", torch.ones(num_classes))

    def fit(self, target: Tensor) -> None:
        """Mean and standard deviation of each column of the training part's targets."""
        values = target.double().reshape(len(target), -1)
        mean = values.nanmean(dim=0)
        std = (values - mean).square().nanmean(dim=0).sqrt()
        self.mean.copy_(mean.nan_to_num(0.0))
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, fused: Tensor) -> Tensor:
        outputs: Tensor = self.linear(fused)
        return outputs

    def scaled(self, target: Tensor) -> Tensor:
        """Targets `(B, K)` in standard deviations."""
        return (target.float().reshape(len(target), -1) - self.mean) / self.std

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        wanted = self.scaled(target)
        known = ~wanted.isnan()
        return mean_where(self.element_losses(outputs.float(), wanted.nan_to_num()), known)

    def row_counts(self, target: Tensor) -> Tensor:
        return (~target.isnan()).reshape(len(target), -1).sum(dim=1).float()

    def element_losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """The loss of each number `(B, K)`, in standard deviations."""
        return functional.mse_loss(outputs, wanted, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.float() * self.std + self.mean


@heads.register("huber")
class Huber(Regression):
    """`num_classes` numbers, outliers counting linearly: squared error up to one standard deviation, absolute beyond.

    Shapes as of Regression. Huber, Annals of Mathematical Statistics 1964.
    """

    def element_losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return functional.huber_loss(outputs, wanted, reduction="none")


@heads.register("gaussian")
class HeteroscedasticGaussian(Regression):
    """`num_classes` numbers with an uncertainty for each row: the negative log-likelihood of a normal distribution.

    Outputs `(B, 2 K)`: means, then what gives the variances through a softplus; targets as of Regression; predictions `(B, 2
    K)`: means, then standard deviations, in the unit of the targets. Nix and Weigend, ICNN 1994.
    """

    smallest_variance = 1e-4

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.linear = linear_layer(in_features, 2 * num_classes)

    def element_losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        mean, raw = outputs.chunk(2, dim=1)
        return functional.gaussian_nll_loss(mean, wanted, self._variance(raw), full=True, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        mean, raw = outputs.float().chunk(2, dim=1)
        return torch.cat([mean * self.std + self.mean, self._variance(raw).sqrt() * self.std], dim=1)

    def _variance(self, raw: Tensor) -> Tensor:
        return functional.softplus(raw) + self.smallest_variance
