"""Fusions: one vector a modality and a presence mask to one vector `(B, D)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.registry import Registry


class Fusion(nn.Module):
    """The contract of a fusion of M modalities: `out_features` is D."""

    out_features: int

    def forward(self, vectors: Sequence[Tensor], present: Tensor) -> Tensor:
        """M vectors `(B, D_m)` and a mask `(B, M)`, True where the modality is there, `-> (B, D)`.

        Where a modality is absent, its vector is a learned token that is the same for every row.
        """
        raise NotImplementedError("a fusion defines forward")


fusions: Registry[Fusion] = Registry("fusion")


@fusions.register("concat")
class Concat(Fusion):
    """All vectors and the mask side by side, through one layer: `(B, D_1), …, (B, D_M) -> (B, 128)`."""

    out_features = 128

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(sum(widths) + len(widths), self.out_features), nn.GELU())

    def forward(self, vectors: Sequence[Tensor], present: Tensor) -> Tensor:
        fused: Tensor = self.mix(torch.cat([*vectors, present.to(vectors[0].dtype)], dim=1))
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

    def forward(self, vectors: Sequence[Tensor], present: Tensor) -> Tensor:
        mask = present.to(vectors[0].dtype)
        gates = 2 * torch.sigmoid(self.gate(torch.cat([*vectors, mask], dim=1)))
        gates = gates.view(-1, len(vectors), self.out_features) * mask.unsqueeze(2)
        hidden = torch.stack(
            [torch.tanh(project(vector)) for project, vector in zip(self.project, vectors, strict=True)], dim=1
        )
        fused: Tensor = (gates * hidden).sum(dim=1)
        return fused
