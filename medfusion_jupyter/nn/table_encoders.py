"""Table encoders: numbers `(B, F)` and category codes `(B, K)` to a vector `(B, D)` and a token for each column."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from medfusion_jupyter.nn.encoded import Encoded
from medfusion_jupyter.nn.registry import Registry


class TableEncoder(nn.Module):
    """The contract of a table encoder: `out_features` is D, the length of the vector and of each token."""

    out_features: int

    def encode(self, numeric: Tensor, codes: Tensor) -> Encoded:
        """`(B, F)` float and `(B, K)` int64 `-> ` vector `(B, D)` and tokens `(B, T, D)`. Code 0 is a missing or unseen category.

        One that has no tokens leaves this as it is: its vector is then its only token.
        """
        vector = self(numeric, codes)
        return Encoded(vector, vector.unsqueeze(1))

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """`(B, F)` float and `(B, K)` int64 `-> (B, D)`: the vector alone."""
        raise NotImplementedError("a table encoder defines forward")


table_encoders: Registry[TableEncoder] = Registry("table encoder")


class CategoryEmbeddings(nn.Module):
    """`(B, K)` codes `-> K` tensors `(B, D_k)`: an embedding for each categorical column, that of code 0 being 0 at the start.

    Where training never saw a missing category, one at prediction then says nothing instead of something random.
    """

    def __init__(self, cardinalities: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.columns = nn.ModuleList(
            nn.Embedding(size, width) for size, width in zip(cardinalities, widths, strict=True)
        )
        for column in self.columns:
            nn.init.zeros_(column.weight[0])  # type: ignore[index]

    def forward(self, codes: Tensor) -> list[Tensor]:
        return [column(codes[:, k]) for k, column in enumerate(self.columns)]


class FirstLayer(nn.Module):
    """`(B, F), (B, K) -> (B, D)`: a linear layer over the numbers and an embedding a category."""

    def __init__(self, num_features: int, cardinalities: Sequence[int], width: int) -> None:
        super().__init__()
        self.widths = [1] * num_features + [min(16, (size + 1) // 2 + 1) for size in cardinalities]
        self.embeddings = CategoryEmbeddings(cardinalities, self.widths[num_features:])
        self.linear = nn.Linear(sum(self.widths), width)

    def inputs(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """`(B, F), (B, K) -> (B, I)`: numbers and embeddings side by side."""
        return torch.cat([numeric, *self.embeddings(codes)], dim=1)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        hidden: Tensor = self.linear(self.inputs(numeric, codes))
        return hidden

    def tokens(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """`(B, F), (B, K) -> (B, F + K, D)`: what each column adds to the layer, with the bias in each, so that none is without a
        direction of its own."""
        inputs = torch.split(self.inputs(numeric, codes), self.widths, dim=1)
        weights = torch.split(self.linear.weight, self.widths, dim=1)
        parts = [functional.linear(x, weight, self.linear.bias) for x, weight in zip(inputs, weights, strict=True)]
        return torch.stack(parts, dim=1)


class _WithColumnTokens(TableEncoder):
    """Encoders that begin with a FirstLayer: their tokens are the vector, then what each column adds to that layer."""

    first: FirstLayer

    def encode(self, numeric: Tensor, codes: Tensor) -> Encoded:
        vector = self(numeric, codes)
        return Encoded(vector, torch.cat([vector.unsqueeze(1), self.first.tokens(numeric, codes)], dim=1))


@table_encoders.register("mlp")
class MLP(_WithColumnTokens):
    """`(B, F), (B, K) -> (B, 64)`: an embedding a category, then two layers with layer norm, GELU and dropout 0.1.

    Tokens `(B, 1 + F + K, 64)`: the vector, then what each column adds to the first layer.
    """

    out_features = 64

    def __init__(self, num_features: int, cardinalities: Sequence[int]) -> None:
        super().__init__()
        self.first = FirstLayer(num_features, cardinalities, 64)
        self.layers = nn.Sequential(
            nn.LayerNorm(64),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(64, 64),
            nn.GELU(),
        )

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        vectors: Tensor = self.layers(self.first(numeric, codes))
        return vectors


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, width),
        )

    def forward(self, vectors: Tensor) -> Tensor:
        changed: Tensor = vectors + self.change(vectors)
        return changed


@table_encoders.register("residual_mlp")
class ResidualMLP(_WithColumnTokens):
    """`(B, F), (B, K) -> (B, 64)`: a linear layer, then three residual blocks of two layers with 128 hidden units.

    Gorishniy et al., "Revisiting deep learning models for tabular data", NeurIPS 2021, with layer norm in place of batch norm,
    so that a row's output does not hang on its batch. Tokens as of MLP.
    """

    out_features = 64

    def __init__(self, num_features: int, cardinalities: Sequence[int]) -> None:
        super().__init__()
        self.first = FirstLayer(num_features, cardinalities, 64)
        self.blocks = nn.Sequential(*(_ResidualBlock(64, 128) for _ in range(3)), nn.LayerNorm(64), nn.ReLU())

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        vectors: Tensor = self.blocks(self.first(numeric, codes))
        return vectors
