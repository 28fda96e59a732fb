"""The assembly: encoders, a fusion and a head into one module."""

from __future__ import annotations

import dataclasses
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.bags import aggregators
from medfusion_jupyter.nn.encoded import Encoded
from medfusion_jupyter.nn.fusions import fusions
from medfusion_jupyter.nn.heads import Head, heads
from medfusion_jupyter.nn.image_encoders import build_image_encoder, encode_few
from medfusion_jupyter.nn.multi_task import MultiTask, Task
from medfusion_jupyter.nn.table_encoders import table_encoders


@dataclasses.dataclass(frozen=True)
class Architecture:
    """All that is needed to build a FusionModel again: names of its parts and the shapes they were built for.

    `image_encoder` or `table_encoder` is None where the model does not use that modality; not both.
    `num_features` and `cardinalities` are those of the table's encoding: F numbers and K categories.

    aggregator: where a row has several images, what makes one vector of theirs; views: how many named views these are, in an
    order that means something, or 0 for a bag whose order means nothing. modality_dropout: in training, the chance that a row
    with several modalities loses one of them, 0 to below 1. tasks: several heads in place of `head`, which is then
    "multi_task".
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
    aggregator: str | None = None
    views: int = 0
    modality_dropout: float = 0.0
    tasks: tuple[Task, ...] = ()

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ValueError("A model needs at least one modality: image_encoder and tabular_encoder are both None.")
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"modality_dropout={self.modality_dropout} is a chance: give 0 to below 1.")
        if self.views and self.aggregator is None:
            raise ValueError(f"views={self.views} need an aggregator, which makes one vector of theirs.")
        if bool(self.tasks) != (self.head == "multi_task"):
            raise ValueError(
                f"head={self.head!r} with {len(self.tasks)} tasks: tasks go with head='multi_task', and it with them."
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the order of the presence mask's columns."""
        used = (("image", self.image_encoder), ("table", self.table_encoder))
        return tuple(name for name, encoder in used if encoder is not None)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Architecture:
        tasks = tuple(Task(**task) for task in saved.get("tasks", ()))
        return cls(**{**saved, "cardinalities": tuple(saved["cardinalities"]), "tasks": tasks})


class FusionModel(nn.Module):
    """Images `(B, C, H, W)` and a table to outputs `(B, K)`, where either may be absent for any row."""

    def __init__(self, architecture: Architecture, *, image_weights: str | PathLike[str] | None = None) -> None:
        """image_weights: what the image encoder starts from, as of `build_image_encoder`."""
        super().__init__()
        self.architecture = architecture
        widths: list[int] = []
        self.image_encoder = None
        self.table_encoder = None
        self.aggregator = None
        if architecture.image_encoder is not None:
            self.image_encoder = build_image_encoder(
                architecture.image_encoder,
                channels=architecture.channels,
                size=architecture.image_size,
                weights=image_weights,
            )
            widths.append(self.image_encoder.out_features)
            if architecture.aggregator is not None:
                self.aggregator = aggregators(architecture.aggregator)(in_features=widths[0])
            if architecture.views:
                self.view_embeddings = nn.Parameter(torch.zeros(architecture.views, widths[0]))
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
        features = self.fusion.out_features
        if architecture.tasks:
            self.head: Head = MultiTask(features, architecture.tasks)
        else:
            self.head = heads(architecture.head)(in_features=features, num_classes=architecture.num_classes)

    def forward(
        self,
        image: Tensor | Encoded | None,
        numeric: Tensor | None,
        codes: Tensor | None,
        present: Tensor,
        all_present: bool = False,
        instances: Tensor | None = None,
    ) -> Tensor:
        """Outputs of the head, `(B, K)`.

        image: `(B, C, H, W)` float, normalised; `(B, N, C, H, W)` where there is an aggregator; or what `encode_images` made of
        it, without an aggregator. numeric: `(B, F)` float;
        codes: `(B, K)` int64; each None where the model does not use that modality. present: `(B, M)` bool, columns in the
        order of `architecture.modalities`. all_present: the caller knows that the mask is True everywhere, which saves asking
        the device. instances: `(B, N)` bool, which of the N images are there, with an aggregator; None where all of a present
        row are.
        """
        if self.aggregator is not None:
            assert not isinstance(image, Encoded)
            present, instances = self._of_bags(image, present, instances)
            all_present = False
        kept = present
        if self.training and self.architecture.modality_dropout:
            kept, all_kept = self._dropped(present), False
        else:
            all_kept = all_present
        encoded: list[Encoded] = []
        if self.image_encoder is not None:
            assert image is not None
            if isinstance(image, Encoded):
                one = image
            elif self.aggregator is None:
                one = self._images(image, present[:, 0], all_present)
            else:
                assert instances is not None
                one = self._bags(image, instances)
            encoded.append(one if all_kept else one.with_absent(kept[:, 0], self.absent["image"]))
        if self.table_encoder is not None:
            assert numeric is not None
            assert codes is not None
            if self.fusion.uses_tokens:
                one = self.table_encoder.encode(numeric, codes)
            else:
                one = Encoded(self.table_encoder(numeric, codes))
            encoded.append(one if all_kept else one.with_absent(kept[:, -1], self.absent["table"]))
        outputs: Tensor = self.head(self.fusion(encoded, kept))
        return outputs

    def _dropped(self, present: Tensor) -> Tensor:
        """The mask without one modality, drawn for each row that has several. Neverova et al., "ModDrop", TPAMI 2016."""
        drawn = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0).argmax(dim=1, keepdim=True)
        chance = torch.rand(len(present), 1, device=present.device)
        loses = (chance < self.architecture.modality_dropout) & (present.sum(dim=1, keepdim=True) > 1)
        column = torch.arange(present.shape[1], device=present.device)
        return present & ~(loses & (column == drawn))

    def _images(self, image: Tensor, there: Tensor, all_there: bool) -> Encoded:
        assert self.image_encoder is not None
        self._check_shape(image, 2 + self.image_encoder.dimensions)
        tokens = self.fusion.uses_tokens
        if all_there:
            return encode_few(self.image_encoder, image, tokens=tokens)
        # only the rows that have an image pass through the encoder: blank ones would shift its batch statistics
        rows = there.nonzero().squeeze(1)
        if rows.numel() == 0:
            nothing = self.absent["image"].expand(len(image), -1)
            return Encoded(nothing, nothing.unsqueeze(1) if tokens else None)
        encoded = encode_few(self.image_encoder, image.index_select(0, rows), tokens=tokens)
        vector, found = _laid_out(encoded.vector, rows, len(image)), encoded.tokens
        return Encoded(vector, None if found is None else _laid_out(found, rows, len(image)))

    def _of_bags(self, image: Tensor | None, present: Tensor, instances: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The mask, where a row without any image of its bag has none, and which images are there."""
        assert image is not None
        assert self.image_encoder is not None
        self._check_shape(image, 3 + self.image_encoder.dimensions)
        if instances is None:
            instances = torch.ones(image.shape[:2], dtype=torch.bool, device=image.device)
        instances = instances & present[:, :1]
        return torch.cat([instances.any(dim=1, keepdim=True), present[:, 1:]], dim=1), instances

    def _bags(self, image: Tensor, instances: Tensor) -> Encoded:
        """The images of each row as one vector; they are its tokens."""
        assert self.image_encoder is not None
        assert self.aggregator is not None
        rows = instances.flatten().nonzero().squeeze(1)
        if rows.numel() == 0:
            vectors = self.absent["image"].expand(*image.shape[:2], -1)
        else:
            encoded = encode_few(self.image_encoder, image.flatten(0, 1).index_select(0, rows))
            vectors = _laid_out(encoded.vector, rows, instances.numel()).view(*image.shape[:2], -1)
        if self.architecture.views:
            vectors = vectors + self.view_embeddings.to(vectors.dtype)
        return Encoded(self.aggregator(vectors, instances), vectors, instances)

    def _check_shape(self, image: Tensor, dimensions: int) -> None:
        if image.ndim != dimensions:
            name = self.architecture.image_encoder
            raise ValueError(
                f"image_encoder={name!r} with aggregator={self.architecture.aggregator!r} takes images of {dimensions} "
                f"dimensions, the batch counted; these have {image.ndim}: {tuple(image.shape)}."
            )


def _laid_out(encoded: Tensor, rows: Tensor, count: int) -> Tensor:
    """`(R, …) -> (count, …)`: each at its row, 0 elsewhere."""
    return encoded.new_zeros(count, *encoded.shape[1:]).index_copy(0, rows, encoded)
