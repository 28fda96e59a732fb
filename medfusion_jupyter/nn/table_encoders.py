"""Table encoders: numbers `(B, F)` and category codes `(B, K)` to a vector `(B, D)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.registry import Registry


class TableEncoder(nn.Module):
    """The contract of a table encoder: `out_features` is D, the length of the vector."""

    out_features: int

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """`(B, F)` float and `(B, K)` int64 `-> (B, D)`. Code 0 is a missing or unseen category."""
        raise NotImplementedError("a table encoder defines forward")


table_encoders: Registry[TableEncoder] = Registry("table encoder")


@table_encoders.register("mlp")
class MLP(TableEncoder):
    """`(B, F), (B, K) -> (B, 64)`: an embedding a category, then two layers with layer norm, GELU and dropout 0.1."""

    out_features = 64

    def __init__(self, num_features: int, cardinalities: Sequence[int]) -> None:
        super().__init__()
        widths = [min(16, (size + 1) // 2 + 1) for size in cardinalities]
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, width) for size, width in zip(cardinalities, widths, strict=True)
        )
        for embedding in self.embeddings:
            # where training never saw a missing category, one at prediction says nothing instead of something random
            nn.init.zeros_(embedding.weight[0])  # type: ignore[index]
        self.layers = nn.Sequential(
            nn.Linear(num_features + sum(widths), 64),
            nn.LayerNorm(64),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(64, 64),
            nn.GELU(),
        )

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        embedded = [embedding(codes[:, k]) for k, embedding in enumerate(self.embeddings)]
        vectors: Tensor = self.layers(torch.cat([numeric, *embedded], dim=1))
        return vectors
