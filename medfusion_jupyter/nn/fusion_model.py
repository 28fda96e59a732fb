"""The assembly: encoders, a fusion and a head into one module."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.fusions import fusions
from medfusion_jupyter.nn.heads import heads
from medfusion_jupyter.nn.image_encoders import build_image_encoder, encode_few
from medfusion_jupyter.nn.table_encoders import table_encoders


@dataclasses.dataclass(frozen=True)
class Architecture:
    """All that is needed to build a FusionModel again: names of its parts and the shapes they were built for.

    `image_encoder` or `table_encoder` is None where the model does not use that modality; not both.
    `num_features` and `cardinalities` are those of the table's encoding: F numbers and K categories.
    """

    image_encoder: str | None
    table_encoder: str | None
    fusion: str
    head: str
    num_classes: int
    channels: int = 1
    image_size: int = 64
    num_features: int = 0
    cardinalities: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ValueError("A model needs at least one modality: image_encoder and tabular_encoder are both None.")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the order of the presence mask's columns."""
        used = (("image", self.image_encoder), ("table", self.table_encoder))
        return tuple(name for name, encoder in used if encoder is not None)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Architecture:
        return cls(**{**saved, "cardinalities": tuple(saved["cardinalities"])})


class FusionModel(nn.Module):
    """Images `(B, C, H, W)` and a table to outputs `(B, K)`, where either may be absent for any row."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths: list[int] = []
        self.image_encoder = None
        self.table_encoder = None
        if architecture.image_encoder is not None:
            self.image_encoder = build_image_encoder(
                architecture.image_encoder, channels=architecture.channels, size=architecture.image_size
            )
            widths.append(self.image_encoder.out_features)
        if architecture.table_encoder is not None:
            self.table_encoder = table_encoders(architecture.table_encoder)(
                num_features=architecture.num_features, cardinalities=architecture.cardinalities
            )
            widths.append(self.table_encoder.out_features)
        self.absent = nn.ParameterDict(
            {
                name: nn.Parameter(torch.zeros(width))
                for name, width in zip(architecture.modalities, widths, strict=True)
            }
        )
        self.fusion = fusions(architecture.fusion)(widths=widths)
        self.head = heads(architecture.head)(in_features=self.fusion.out_features, num_classes=architecture.num_classes)

    def forward(
        self,
        image: Tensor | None,
        numeric: Tensor | None,
        codes: Tensor | None,
        present: Tensor,
        all_present: bool = False,
    ) -> Tensor:
        """Outputs of the head, `(B, K)`.

        image: `(B, C, H, W)` float, normalised; numeric: `(B, F)` float; codes: `(B, K)` int64; each None where the
        model does not use that modality. present: `(B, M)` bool, columns in the order of `architecture.modalities`.
        all_present: the caller knows that the mask is True everywhere, which saves asking the device.
        """
        vectors: list[Tensor] = []
        if self.image_encoder is not None:
            assert image is not None
            vectors.append(self._image_vectors(image, present[:, 0], all_present))
        if self.table_encoder is not None:
            assert numeric is not None
            assert codes is not None
            encoded = self.table_encoder(numeric, codes)
            if not all_present:
                encoded = torch.where(present[:, -1:], encoded, self.absent["table"].to(encoded.dtype))
            vectors.append(encoded)
        outputs: Tensor = self.head(self.fusion(vectors, present))
        return outputs

    def _image_vectors(self, image: Tensor, there: Tensor, all_present: bool) -> Tensor:
        assert self.image_encoder is not None
        if all_present:
            return encode_few(self.image_encoder, image)
        # only the rows that have an image pass through the encoder: blank ones would shift its batch statistics
        rows = there.nonzero().squeeze(1)
        token = self.absent["image"]
        if rows.numel() == 0:
            return torch.as_tensor(token).expand(image.shape[0], -1)
        encoded = encode_few(self.image_encoder, image.index_select(0, rows))
        blank = token.to(encoded.dtype).expand(image.shape[0], -1)
        vectors: Tensor = blank.index_copy(0, rows, encoded)
        return vectors
