"""Fusions by products of the modalities' features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.encoded import Encoded
from medfusion_jupyter.nn.fusions import Fusion, fusions

LARGEST_PRODUCT = 4096


def _with_one(hidden: Tensor, there: Tensor) -> Tensor:
    """`(B, D), (B,) -> (B, 1 + D)`: a 1 before the features, which are 0 where the modality is absent.

    The 1 keeps the products of fewer modalities, down to each alone; an absent modality leaves exactly those without it.
    """
    return torch.cat([torch.ones_like(hidden[:, :1]), hidden * there.unsqueeze(1).to(hidden.dtype)], dim=1)


@fusions.register("low_rank")
class LowRankBilinear(Fusion):
    """Products of every modality's features, of low rank: `(B, D_1), …, (B, D_M) -> (B, 128)`.

    `out = GELU(LayerNorm(Σ_r Π_m W_m^r [1, h_m]))` with `h_m = tanh(V_m x_m)` of 64 features and rank 8.
    Liu et al., "Efficient low-rank multimodal fusion with modality-specific factors", ACL 2018.
    """

    out_features = 128
    rank = 8
    hidden = 64

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Sequential(nn.Linear(width, self.hidden), nn.Tanh()) for width in widths)
        self.factors = nn.ModuleList(
            nn.Linear(1 + self.hidden, self.rank * self.out_features, bias=False) for _ in widths
        )
        for factor in self.factors:
            # near 1 at the start, so that a product of many is neither lost nor overwhelming
            nn.init.normal_(factor.weight, std=self.hidden**-0.5)  # type: ignore[arg-type]
            with torch.no_grad():
                factor.weight[:, 0] += 1  # type: ignore[index, operator]
        self.finish = nn.Sequential(nn.LayerNorm(self.out_features), nn.GELU())

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        product: Tensor | None = None
        for m, one in enumerate(encoded):
            factor = self.factors[m](_with_one(self.project[m](one.vector), present[:, m]))
            product = factor if product is None else product * factor
        assert product is not None
        fused: Tensor = self.finish(product.view(-1, self.rank, self.out_features).sum(dim=1))
        return fused


@fusions.register("tensor")
class TensorProduct(Fusion):
    """The Kronecker product of all modalities' features: `(B, D_1), …, (B, D_M) -> (B, 128)`.

    `out = GELU(W ([1, h_1] ⊗ … ⊗ [1, h_M]))` with `h_m = tanh(V_m x_m)` of 31 features, fewer where more than two modalities
    would make more than 4096 products. Zadeh et al., "Tensor fusion network for multimodal sentiment analysis", EMNLP 2017.
    """

    out_features = 128

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        side = 32
        while side ** len(widths) > LARGEST_PRODUCT:
            side -= 1
        if side < 2:
            raise ValueError(f"fusion='tensor' of {len(widths)} modalities is too large; choose 'low_rank'.")
        self.project = nn.ModuleList(nn.Sequential(nn.Linear(width, side - 1), nn.Tanh()) for width in widths)
        self.mix = nn.Sequential(nn.Linear(side ** len(widths), self.out_features), nn.GELU())

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        product = torch.ones_like(encoded[0].vector[:, :1])
        for m, one in enumerate(encoded):
            features = _with_one(self.project[m](one.vector), present[:, m])
            product = (product.unsqueeze(2) * features.unsqueeze(1)).flatten(1)
        fused: Tensor = self.mix(product)
        return fused
