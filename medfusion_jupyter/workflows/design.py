"""The design of a model as the nodes of a graph hand it on: encoders, their fusion, and a head on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Encoder:
    """An encoder by name. modality: `image` or `table`."""

    modality: str
    name: str


@dataclass(frozen=True)
class Fused:
    """What a fusion makes of its encoders, of which each modality has one at most."""

    fusion: str
    encoders: tuple[Encoder, ...]


@dataclass(frozen=True)
class Design:
    """A whole model: a head on what is fused."""

    head: str
    fused: Fused

    def settings(self) -> dict[str, Any]:
        """The settings of `mf.train` that ask for it; a modality without an encoder is left out of the model."""
        by_modality = {encoder.modality: encoder.name for encoder in self.fused.encoders}
        return {
            "image_encoder": by_modality.get("image"),
            "tabular_encoder": by_modality.get("table"),
            "fusion": self.fused.fusion,
            "head": self.head,
        }
