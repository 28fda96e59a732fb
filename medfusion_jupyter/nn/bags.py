"""Aggregators: the vectors of the images of a row, a bag or its views, to one vector `(B, N, D) -> (B, D)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.registry import Registry


class Aggregator(nn.Module):
    """The contract of an aggregator, built from `in_features`, D."""

    def forward(self, instances: Tensor, there: Tensor) -> Tensor:
        """`(B, N, D)` and a mask `(B, N)`, True where there is an image, `-> (B, D)`; what lies where none is has no effect.

        An empty bag gives some finite vector; the model puts the token of an absent modality in its place.
        """
        raise NotImplementedError("an aggregator defines forward")


aggregators: Registry[Aggregator] = Registry("aggregator")


def _weighted(instances: Tensor, scores: Tensor, there: Tensor) -> Tensor:
    """The mean of the instances, weighted by the softmax of their scores `(B, N)`; 0 for an empty bag."""
    lowest = torch.finfo(torch.float32).min
    weights = scores.float().masked_fill(~there, lowest).softmax(dim=1) * there
    weighted: Tensor = (weights.to(instances.dtype).unsqueeze(1) @ instances).squeeze(1)
    return weighted


def _blanked(instances: Tensor, there: Tensor) -> Tensor:
    """0 where no image is: not even a NaN may come from there."""
    return instances.masked_fill(~there.unsqueeze(2), 0)


@aggregators.register("mean")
class Mean(Aggregator):
    """The mean over the images that are there."""

    def __init__(self, in_features: int) -> None:
        super().__init__()

    def forward(self, instances: Tensor, there: Tensor) -> Tensor:
        return _weighted(_blanked(instances, there), torch.zeros_like(there, dtype=torch.float32), there)


@aggregators.register("max")
class Max(Aggregator):
    """The largest value of each feature over the images that are there."""

    def __init__(self, in_features: int) -> None:
        super().__init__()

    def forward(self, instances: Tensor, there: Tensor) -> Tensor:
        largest = instances.masked_fill(~there.unsqueeze(2), torch.finfo(instances.dtype).min).amax(dim=1)
        return torch.where(there.any(dim=1, keepdim=True), largest, torch.zeros_like(largest))


@aggregators.register("attention")
class Attention(Aggregator):
    """A weighted mean; weights are a softmax of `w tanh(V h)`. Ilse et al., "Attention-based deep MIL", ICML 2018."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(in_features, 128), nn.Tanh(), nn.Linear(128, 1))

    def forward(self, instances: Tensor, there: Tensor) -> Tensor:
        instances = _blanked(instances, there)
        return _weighted(instances, self.score(instances).squeeze(2), there)


@aggregators.register("gated_attention")
class GatedAttention(Aggregator):
    """A weighted mean; weights are a softmax of `w (tanh(V h) · σ(U h))`. Ilse et al., "Attention-based deep MIL", ICML 2018."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.content = nn.Sequential(nn.Linear(in_features, 128), nn.Tanh())
        self.gate = nn.Sequential(nn.Linear(in_features, 128), nn.Sigmoid())
        self.score = nn.Linear(128, 1)

    def forward(self, instances: Tensor, there: Tensor) -> Tensor:
        instances = _blanked(instances, there)
        scores = self.score(self.content(instances) * self.gate(instances)).squeeze(2)
        return _weighted(instances, scores, there)


@aggregators.register("transformer")
class TransformerAggregator(Aggregator):
    """The images see each other in one transformer block; the vector is that of a summary token that joined them."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        heads = next(heads for heads in (8, 4, 2, 1) if in_features % heads == 0)
        self.summary = nn.Parameter(torch.randn(in_features) * 0.02)
        block = nn.TransformerEncoderLayer(
            in_features, heads, 2 * in_features, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, 1, nn.LayerNorm(in_features), enable_nested_tensor=False)

    def forward(self, instances: Tensor, there: Tensor) -> Tensor:
        summary = self.summary.to(instances.dtype).expand(len(instances), 1, -1)
        hidden = ~torch.cat([torch.ones_like(there[:, :1]), there], dim=1)
        instances = _blanked(instances, there)
        aggregated: Tensor = self.blocks(torch.cat([summary, instances], dim=1), src_key_padding_mask=hidden)[:, 0]
        return aggregated
