"""Fusions that look at tokens: the positions of a feature map, the columns of a table, the images of a bag."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from medfusion_jupyter.nn.encoded import Encoded
from medfusion_jupyter.nn.fusions import Fusion, fusions, side_by_side

HEADS = 4


def _everything_visible(tokens: Tensor) -> Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


def _visible(one: Encoded) -> Tensor:
    assert one.tokens is not None
    return _everything_visible(one.tokens) if one.visible is None else one.visible


@fusions.register("film")
class FiLM(Fusion):
    """The first modality's tokens, scaled and shifted by the other modalities: `-> (B, 128)`.

    `out = mean_t GELU((1 + γ) · V x_t + β)` over the visible tokens t of the first modality (the image, where there is one),
    with γ and β linear in the vectors of all the others and the mask.

    Perez et al., "FiLM: Visual reasoning with a general conditioning layer", AAAI 2018.
    """

    out_features = 128
    uses_tokens = True

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.project = nn.Linear(widths[0], self.out_features)
        self.condition = nn.Linear(sum(widths[1:]) + len(widths), 2 * self.out_features)

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        first, *others = encoded
        assert first.tokens is not None
        vectors = [one.vector for one in others]
        scale, shift = self.condition(torch.cat([*vectors, present.to(first.vector.dtype)], dim=1)).chunk(2, dim=1)
        features = functional.gelu((1 + scale).unsqueeze(1) * self.project(first.tokens) + shift.unsqueeze(1))
        visible = _visible(first).to(features.dtype).unsqueeze(2)
        fused: Tensor = (features * visible).sum(dim=1) / visible.sum(dim=1)
        return fused


@fusions.register("cross_attention")
class CrossAttention(Fusion):
    """Each modality's vector looks at the tokens of all the others: `-> (B, 128)`.

    The vector of each modality is the query, the tokens of the other modalities and one learned token "nothing of these"
    are the keys, so that there is always something to choose from; a modality that is alone looks at its own tokens. What
    was seen is added to the query, and all modalities and the mask pass one layer together. Four heads.

    Vaswani et al., "Attention is all you need", NeurIPS 2017.
    """

    out_features = 128
    uses_tokens = True

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        width = self.out_features
        self.queries = nn.ModuleList(nn.Linear(w, width) for w in widths)
        self.keys = nn.ModuleList(nn.Linear(w, width) for w in widths)
        self.nothing = nn.Parameter(torch.randn(len(widths), 1, width) * 0.02)
        self.attend = nn.ModuleList(nn.MultiheadAttention(width, HEADS, batch_first=True) for _ in widths)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in widths)
        self.mix = nn.Sequential(nn.Linear(len(widths) * (width + 1), width), nn.GELU())

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        keys = [project(one.tokens) for project, one in zip(self.keys, encoded, strict=True)]
        visible = [_visible(one) for one in encoded]
        seen = []
        for m, one in enumerate(encoded):
            others = [k for k in range(len(encoded)) if k != m] or [m]
            nothing = self.nothing[m].to(keys[0].dtype).expand(present.shape[0], 1, -1)
            looked_at = torch.cat([nothing, *(keys[k] for k in others)], dim=1)
            hidden = ~torch.cat([_everything_visible(nothing), *(visible[k] for k in others)], dim=1)
            query = self.queries[m](one.vector).unsqueeze(1)
            found, _ = self.attend[m](query, looked_at, looked_at, key_padding_mask=hidden, need_weights=False)
            seen.append(self.norms[m]((query + found).squeeze(1)))
        fused: Tensor = self.mix(torch.cat([*seen, present.to(seen[0].dtype)], dim=1))
        return fused


@fusions.register("transformer")
class TransformerFusion(Fusion):
    """A transformer over the tokens of all modalities: `-> (B, 128)`.

    Tokens are brought to 128 features and marked with their modality; a summary token, which begins as a linear layer over
    all vectors and the mask, is read after two blocks of four heads. Tokens have no positions but what their encoder put in
    them.

    Vaswani et al., "Attention is all you need", NeurIPS 2017; blocks normalised before attention: Xiong et al., ICML 2020.
    """

    out_features = 128
    uses_tokens = True

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        width = self.out_features
        self.project = nn.ModuleList(nn.Linear(w, width) for w in widths)
        self.kinds = nn.Parameter(torch.randn(len(widths), width) * 0.02)
        self.summary = nn.Linear(sum(widths) + len(widths), width)
        block = nn.TransformerEncoderLayer(
            width, HEADS, 2 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, 2, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        summary = self.summary(side_by_side(encoded, present)).unsqueeze(1)
        tokens = [
            project(one.tokens) + kind for project, one, kind in zip(self.project, encoded, self.kinds, strict=True)
        ]
        hidden = ~torch.cat([_everything_visible(summary), *(_visible(one) for one in encoded)], dim=1)
        fused: Tensor = self.blocks(torch.cat([summary, *tokens], dim=1), src_key_padding_mask=hidden)[:, 0]
        return fused
