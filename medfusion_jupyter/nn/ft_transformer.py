"""FT-Transformer: a transformer over the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from medfusion_jupyter.nn.encoded import Encoded
from medfusion_jupyter.nn.table_encoders import CategoryEmbeddings, TableEncoder, table_encoders


class ColumnTokens(nn.Module):
    """`(B, F), (B, K) -> (B, F + K, D)`: a number times its direction, a category's embedding, each plus its column's bias."""

    def __init__(self, num_features: int, cardinalities: Sequence[int], width: int) -> None:
        super().__init__()
        bound = width**-0.5
        self.directions = nn.Parameter(torch.empty(num_features, width).uniform_(-bound, bound))
        self.biases = nn.Parameter(torch.empty(num_features + len(cardinalities), width).uniform_(-bound, bound))
        self.embeddings = CategoryEmbeddings(cardinalities, [width] * len(cardinalities))

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        numbers = numeric.unsqueeze(2) * self.directions
        categories = [embedded.unsqueeze(1) for embedded in self.embeddings(codes)]
        tokens: Tensor = torch.cat([numbers, *categories], dim=1) + self.biases
        return tokens


class _Block(nn.Module):
    """Attention, then a feed-forward layer with ReGLU; normalised before each, but not before the first of all."""

    def __init__(self, width: int, *, first: bool) -> None:
        super().__init__()
        self.before_attention = nn.Identity() if first else nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 8, dropout=0.2, batch_first=True)
        self.before_layers = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * (width * 4 // 3))
        self.dropout = nn.Dropout(0.1)
        self.narrow = nn.Linear(width * 4 // 3, width)

    def forward(self, tokens: Tensor) -> Tensor:
        seen = self.before_attention(tokens)
        tokens = tokens + self.attention(seen, seen, seen, need_weights=False)[0]
        value, gate = self.widen(self.before_layers(tokens)).chunk(2, dim=2)
        changed: Tensor = tokens + self.narrow(self.dropout(value * functional.relu(gate)))
        return changed


@table_encoders.register("ft_transformer")
class FTTransformer(TableEncoder):
    """`(B, F), (B, K) -> (B, 64)`: each column is a token; three transformer blocks of 8 heads; the vector is a summary token.

    Tokens `(B, F + K, 64)`: those of the columns after the blocks. Gorishniy et al., "Revisiting deep learning models for
    tabular data", NeurIPS 2021; narrower than the paper's 192, for cohorts of hundreds to thousands.
    """

    out_features = 64

    def __init__(self, num_features: int, cardinalities: Sequence[int]) -> None:
        super().__init__()
        self.columns = ColumnTokens(num_features, cardinalities, self.out_features)
        bound = self.out_features**-0.5
        self.summary = nn.Parameter(torch.empty(self.out_features).uniform_(-bound, bound))
        self.blocks = nn.Sequential(*(_Block(self.out_features, first=k == 0) for k in range(3)))
        self.norm = nn.LayerNorm(self.out_features)

    def encode(self, numeric: Tensor, codes: Tensor) -> Encoded:
        columns = self.columns(numeric, codes)
        tokens = self.norm(self.blocks(torch.cat([self.summary.expand(columns.shape[0], 1, -1), columns], dim=1)))
        return Encoded(tokens[:, 0], tokens[:, 1:])

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        return self.encode(numeric, codes).vector
