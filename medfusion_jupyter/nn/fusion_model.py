"""The assembly: encoders, a fusion and a head into one module."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.bags import Aggregator, aggregators
from medfusion_jupyter.nn.encoded import Encoded
from medfusion_jupyter.nn.fusions import fusions
from medfusion_jupyter.nn.heads import Head, heads
from medfusion_jupyter.nn.image_encoders import ImageEncoder, Size, build_image_encoder, encode_few
from medfusion_jupyter.nn.multi_task import MultiTask, Task
from medfusion_jupyter.nn.table_encoders import table_encoders


@dataclasses.dataclass(frozen=True)
class Architecture:
    """All that is needed to build a FusionModel again: names of its parts and the shapes they were built for.

    `image_encoder` or `table_encoder` is None where the model does not use that modality; not both.
    `num_features` and `cardinalities` are those of the table's encoding: F numbers and K categories.

    image_size: pixels a side, or those of (D, H, W) for volumes. views: names of the images of a row, each a modality, in an
    order that means something; none is one image, the modality `image`. shared_encoder: whether the views pass through one image
    encoder (and aggregator) or each through its own. aggregator: where each is a bag of several images, in no order, what makes
    one vector of theirs. modality_dropout: in training, the chance that a row with several modalities loses one of them, 0 to
    below 1. tasks: several heads in place of `head`, which is then "multi_task".
    """

    image_encoder: str | None
    table_encoder: str | None
    fusion: str
    head: str
    num_classes: int
    channels: int = 1
    image_size: Size = 64
    num_features: int = 0
    cardinalities: tuple[int, ...] = ()
    aggregator: str | None = None
    views: tuple[str, ...] = ()
    shared_encoder: bool = True
    modality_dropout: float = 0.0
    tasks: tuple[Task, ...] = ()

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ValueError("A model needs at least one modality: image_encoder and tabular_encoder are both None.")
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"modality_dropout={self.modality_dropout} is a chance: give 0 to below 1.")
        if self.views and self.image_encoder is None:
            raise ValueError(f"views={self.views} go with an image encoder.")
        if bool(self.tasks) != (self.head == "multi_task"):
            raise ValueError(
                f"head={self.head!r} with {len(self.tasks)} tasks: tasks go with head='multi_task', and it with them."
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the order of the presence mask's columns."""
        images = self.views or ("image",)
        return (*(images if self.image_encoder else ()), *(("table",) if self.table_encoder else ()))

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Architecture:
        tasks = tuple(Task(**task) for task in saved.get("tasks", ()))
        size = saved["image_size"]
        tuples = {
            "cardinalities": tuple(saved["cardinalities"]),
            "views": tuple(saved.get("views") or ()),
            "image_size": size if isinstance(size, int) else tuple(size),
        }
        return cls(**{**saved, **tuples, "tasks": tasks})


class FusionModel(nn.Module):
    """Images `(B, C, H, W)` and a table to outputs `(B, K)`, where either may be absent for any row."""

    def __init__(self, architecture: Architecture, *, image_weights: str | PathLike[str] | None = None) -> None:
        """image_weights: what the image encoders start from, as of `build_image_encoder`."""
        super().__init__()
        self.architecture = architecture
        widths: list[int] = []
        self.image_encoder: ImageEncoder | nn.ModuleDict | None = None
        self.table_encoder = None
        self.aggregator: Aggregator | nn.ModuleDict | None = None
        if architecture.image_encoder is not None:
            if architecture.shared_encoder or not architecture.views:
                self.image_encoder = self._built_encoder(image_weights)
            else:
                self.image_encoder = nn.ModuleDict(
                    {_key(view): self._built_encoder(image_weights) for view in architecture.views}
                )
            widths += [self.image_encoders[0].out_features] * len(architecture.views or ("image",))
            if architecture.aggregator is not None:
                build = partial(aggregators(architecture.aggregator), in_features=widths[0])
                if isinstance(self.image_encoder, nn.ModuleDict):
                    self.aggregator = nn.ModuleDict({_key(view): build() for view in architecture.views})
                else:
                    self.aggregator = build()
        if architecture.table_encoder is not None:
            self.table_encoder = table_encoders(architecture.table_encoder)(
                num_features=architecture.num_features, cardinalities=architecture.cardinalities
            )
            widths.append(self.table_encoder.out_features)
        self.absent = nn.ParameterDict(
            {
                _key(name): nn.Parameter(torch.zeros(width))
                for name, width in zip(architecture.modalities, widths, strict=True)
            }
        )
        self.fusion = fusions(architecture.fusion)(widths=widths)
        features = self.fusion.out_features
        if architecture.tasks:
            self.head: Head = MultiTask(features, architecture.tasks)
        else:
            self.head = heads(architecture.head)(in_features=features, num_classes=architecture.num_classes)

    def _built_encoder(self, weights: str | PathLike[str] | None) -> ImageEncoder:
        name = self.architecture.image_encoder
        assert name is not None
        return build_image_encoder(
            name, channels=self.architecture.channels, size=self.architecture.image_size, weights=weights
        )

    @property
    def image_encoders(self) -> list[ImageEncoder]:
        """The image encoders that there are: none, one, or one a view."""
        if isinstance(self.image_encoder, nn.ModuleDict):
            return cast(list[ImageEncoder], list(self.image_encoder.values()))
        return [] if self.image_encoder is None else [self.image_encoder]

    def forward(
        self,
        images: Tensor | Encoded | Sequence[Tensor | Encoded] | None,
        numeric: Tensor | None,
        codes: Tensor | None,
        present: Tensor,
        all_present: bool = False,
        instances: Tensor | Sequence[Tensor] = (),
    ) -> Tensor:
        """Outputs of the head, `(B, K)`.

        images: `(B, C, H, W)` float, normalised, `(B, C, D, H, W)` for volumes; a sequence of these where there are views; with
        an aggregator the images of all bags (of a view) one after the other, `(I, C, H, W)`. Without an aggregator also what the
        image encoder made of them earlier. numeric: `(B, F)` float; codes: `(B, K)` int64;
        each None where the model does not use that modality. present: `(B, M)` bool, columns in the order of
        `architecture.modalities`. all_present: the caller knows that the mask is True everywhere, which saves asking the
        device. instances: with an aggregator, `(B, N)` bool with I times True: the places of the images in their bags; a sequence
        of these where there are views.
        """
        bags = [instances] if isinstance(instances, Tensor) else list(instances)
        if self.aggregator is not None:
            # a row without any image has none, whatever the mask says
            there = [of_view.any(dim=1, keepdim=True) for of_view in bags]
            present = torch.cat([*there, present[:, len(bags) :]], dim=1)
            all_present = False
        kept = present
        if self.training and self.architecture.modality_dropout:
            kept, all_kept = self._dropped(present), False
        else:
            all_kept = all_present
        encoded: list[Encoded] = []
        if self.image_encoder is not None:
            assert images is not None
            # a NamedTuple is a sequence too
            given = [images] if isinstance(images, Tensor | Encoded) else list(images)
            encoded = [one for one in given if isinstance(one, Encoded)]
            of_views = [one for one in given if isinstance(one, Tensor)]
            self._check_shapes(of_views)
            if not of_views:
                pass
            elif self.aggregator is not None:
                encoded = self._bags(of_views, bags)
            else:
                encoded = self._views(of_views, present, all_present)
        if self.table_encoder is not None:
            assert numeric is not None
            assert codes is not None
            if self.fusion.uses_tokens:
                encoded.append(self.table_encoder.encode(numeric, codes))
            else:
                encoded.append(Encoded(self.table_encoder(numeric, codes)))
        if not all_kept:
            encoded = [
                one.with_absent(kept[:, column], self.absent[_key(name)])
                for column, (name, one) in enumerate(zip(self.architecture.modalities, encoded, strict=True))
            ]
        outputs: Tensor = self.head(self.fusion(encoded, kept))
        return outputs

    def image_tokens(self, images: Tensor, there: Tensor, all_there: bool = False) -> Tensor:
        """`(B, C, H, W), (B,) -> (B, h·w, D)`: the map of the image encoder, of each row that is there, 0 elsewhere."""
        tokens = self._encoded(self.image_encoders[0], images, there, all_there, tokens=True).tokens
        assert tokens is not None
        return tokens

    def _dropped(self, present: Tensor) -> Tensor:
        """The mask without one modality, drawn for each row that has several. Neverova et al., "ModDrop", TPAMI 2016."""
        drawn = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0).argmax(dim=1, keepdim=True)
        chance = torch.rand(len(present), 1, device=present.device)
        loses = (chance < self.architecture.modality_dropout) & (present.sum(dim=1, keepdim=True) > 1)
        column = torch.arange(present.shape[1], device=present.device)
        return present & ~(loses & (column == drawn))

    def _views(self, images: list[Tensor], present: Tensor, all_present: bool) -> list[Encoded]:
        """Each view, through the encoder of all or its own."""
        encoders = self.image_encoders
        if len(images) == len(encoders):
            return [
                self._encoded(encoder, view, present[:, column], all_present)
                for column, (encoder, view) in enumerate(zip(encoders, images, strict=True))
            ]
        # one pass of all views: batch norm sees them together
        there = present[:, : len(images)].t().reshape(-1)
        together = self._encoded(encoders[0], torch.cat(images), there, all_present)
        tokens = [None] * len(images) if together.tokens is None else together.tokens.chunk(len(images))
        return [
            Encoded(vector, of_view) for vector, of_view in zip(together.vector.chunk(len(images)), tokens, strict=True)
        ]

    def _encoded(
        self, encoder: ImageEncoder, images: Tensor, there: Tensor, all_there: bool, *, tokens: bool | None = None
    ) -> Encoded:
        """tokens: whether they are wanted; by default as the fusion does."""
        tokens = self.fusion.uses_tokens if tokens is None else tokens
        if all_there:
            return encode_few(encoder, images, tokens=tokens)
        # only the rows that have an image pass through the encoder: blank ones would shift its batch statistics
        rows = there.nonzero().squeeze(1)
        if rows.numel() == 0:
            nothing = images.new_zeros(len(images), encoder.out_features)
            return Encoded(nothing, nothing.unsqueeze(1) if tokens else None)
        encoded = encode_few(encoder, images.index_select(0, rows), tokens=tokens)
        vector, found = _laid_out(encoded.vector, rows, len(images)), encoded.tokens
        return Encoded(vector, None if found is None else _laid_out(found, rows, len(images)))

    def _bags(self, images: list[Tensor], instances: list[Tensor]) -> list[Encoded]:
        """The images of each row, of each view, as one vector; they are its tokens."""
        encoders = self.image_encoders
        if len(images) == len(encoders):
            vectors = [_vectors(encoder, of_view) for encoder, of_view in zip(encoders, images, strict=True)]
        else:
            # one pass of all views: batch norm sees them together
            vectors = list(torch.split(_vectors(encoders[0], torch.cat(images)), [len(of_view) for of_view in images]))
        found = []
        for number, (of_view, there) in enumerate(zip(vectors, instances, strict=True)):
            places = there.flatten().nonzero().squeeze(1)
            laid_out = _laid_out(of_view, places, there.numel()).view(*there.shape, -1)
            found.append(Encoded(self._aggregators[number % len(encoders)](laid_out, there), laid_out, there))
        return found

    @property
    def _aggregators(self) -> list[Aggregator]:
        """One for each image encoder."""
        of_views = self.aggregator.values() if isinstance(self.aggregator, nn.ModuleDict) else [self.aggregator]
        return cast(list[Aggregator], list(of_views))

    def _check_shapes(self, images: list[Tensor]) -> None:
        dimensions = 2 + self.image_encoders[0].dimensions
        for image in images:
            if image.ndim != dimensions:
                raise ValueError(
                    f"image_encoder={self.architecture.image_encoder!r} takes images of {dimensions} dimensions, the batch "
                    f"counted; these have {image.ndim}: {tuple(image.shape)}."
                )


def _key(modality: str) -> str:
    """The name of what a modality has of its own: a view may be named as an attribute of a module is."""
    return modality if modality in ("image", "table") else f"view_{modality}"


def _vectors(encoder: ImageEncoder, images: Tensor) -> Tensor:
    """`(I, C, H, W) -> (I, D)`, of no image too."""
    return encode_few(encoder, images).vector if len(images) else images.new_zeros(0, encoder.out_features)


def _laid_out(encoded: Tensor, rows: Tensor, count: int) -> Tensor:
    """`(R, …) -> (count, …)`: each at its row, 0 elsewhere."""
    return encoded.new_zeros(count, *encoded.shape[1:]).index_copy(0, rows, encoded)
