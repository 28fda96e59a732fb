"""Fusions: what each modality's encoder hands out, and a presence mask, to one vector `(B, D)`.

Here is the contract and the fusions that add and gate; beside it lie bilinear_fusions.py, token_fusions.py and mixture.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.encoded import Encoded
from medfusion_jupyter.nn.registry import Registry


class Fusion(nn.Module):
    """The contract of a fusion of M modalities, one or more: `out_features` is D.

    It is built from `widths`, the length of each modality's vector and tokens. uses_tokens: whether it looks at tokens; only
    then the encoders make them.
    """

    out_features: int
    uses_tokens: ClassVar[bool] = False

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        """M modalities and a mask `(B, M)`, True where the modality is there, `-> (B, D)`.

        Where a modality is absent, its vector is a learned token that is the same for every row, and its only visible token.
        """
        raise NotImplementedError("a fusion defines forward")


fusions: Registry[Fusion] = Registry("fusion")


def side_by_side(encoded: Sequence[Encoded], present: Tensor) -> Tensor:
    """All vectors and the mask: `(B, D_1 + … + D_M + M)`."""
    vectors = [one.vector for one in encoded]
    return torch.cat([*vectors, present.to(vectors[0].dtype)], dim=1)


@fusions.register("concat")
class Concat(Fusion):
    """All vectors and the mask side by side, through one layer: `(B, D_1), …, (B, D_M) -> (B, 128)`."""

    out_features = 128

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(sum(widths) + len(widths), self.out_features), nn.GELU())

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        fused: Tensor = self.mix(side_by_side(encoded, present))
        return fused


@fusions.register("gated")
class Gated(Fusion):
    """A gate for each modality and feature, that sees every modality: `(B, D_1), …, (B, D_M) -> (B, 128)`.

    `h_m = tanh(W_m x_m)`, `z = 2 σ(V [x_1 … x_M, mask])`, `out = Σ_m mask_m · z_m · h_m`. As in the gated multimodal unit, but
    the gates of the modalities do not compete: independent evidence adds up, and an absent modality adds nothing.

    Arevalo et al., "Gated multimodal units for information fusion", ICLR workshop 2017.
    """

    out_features = 128

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(width, self.out_features) for width in widths)
        self.gate = nn.Linear(sum(widths) + len(widths), self.out_features * len(widths))

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        mask = present.to(encoded[0].vector.dtype)
        gates = 2 * torch.sigmoid(self.gate(side_by_side(encoded, present)))
        gates = gates.view(-1, len(encoded), self.out_features) * mask.unsqueeze(2)
        hidden = torch.stack(
            [torch.tanh(project(one.vector)) for project, one in zip(self.project, encoded, strict=True)], dim=1
        )
        fused: Tensor = (gates * hidden).sum(dim=1)
        return fused


@fusions.register("late")
class Late(Fusion):
    """Each modality decides alone, and the decisions are averaged with learned weights: `(B, D_1), …, (B, D_M) -> (B, 128)`.

    `out = s_k · Σ_m mask_m w_m h_m(x_m) / Σ_m mask_m w_m`. Every head is linear, so this averages the modalities' logits; it
    can express no interaction. `s_k` is a learned scale for k modalities being there, k at the start: independent evidence
    adds up.
    """

    out_features = 128

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.decide = nn.ModuleList(nn.Sequential(nn.Linear(width, self.out_features), nn.GELU()) for width in widths)
        self.log_weights = nn.Parameter(torch.zeros(len(widths)))
        self.scales = nn.Parameter(torch.arange(len(widths) + 1, dtype=torch.float32))

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        hidden = torch.stack([decide(one.vector) for decide, one in zip(self.decide, encoded, strict=True)], dim=1)
        weights = self.log_weights.exp() * present
        # a row with nothing present has no decision: all is 0
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        weights = weights * self.scales[present.sum(dim=1)].unsqueeze(1)
        fused: Tensor = (weights.unsqueeze(2).to(hidden.dtype) * hidden).sum(dim=1)
        return fused


@fusions.register("moe")
class MixtureOfExperts(Fusion):
    """An expert for each modality and one for all, mixed by a gate: `(B, D_1), …, (B, D_M) -> (B, 128)`.

    The gate is a softmax that sees every vector and the mask; the expert of an absent modality has no share in it. The common
    expert always has one, so that the gate is defined where nothing is present.

    Jacobs et al., "Adaptive mixtures of local experts", Neural Computation 1991; Han et al., "FuseMoE", NeurIPS 2024, for
    gates that know what is missing.
    """

    out_features = 128

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        together = sum(widths) + len(widths)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, self.out_features), nn.GELU()) for width in [*widths, together]
        )
        self.gate = nn.Linear(together, len(widths) + 1)

    def forward(self, encoded: Sequence[Encoded], present: Tensor) -> Tensor:
        together = side_by_side(encoded, present)
        inputs = [*(one.vector for one in encoded), together]
        answers = torch.stack([expert(x) for expert, x in zip(self.experts, inputs, strict=True)], dim=1)
        taking_part = torch.cat([present, torch.ones_like(present[:, :1])], dim=1)
        shares = self.gate(together).float().masked_fill(~taking_part, float("-inf")).softmax(dim=1)
        fused: Tensor = (shares.unsqueeze(2).to(answers.dtype) * answers).sum(dim=1)
        return fused
