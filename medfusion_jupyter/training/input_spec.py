"""What a model expects of its input, stored with it: everything between a row of a cohort and a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medfusion_jupyter.data import Cohort, PixelCache, TableEncoder, Target, target_of
from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.nn import Architecture, heads


@dataclass(frozen=True)
class InputSpec:
    """Roles of the columns, classes, and the encodings that were fit on the training part.

    roles: as `Cohort.roles()`; classes: names of classes, grades or labels in the order of the outputs, none of a number or a
    time; image_size: pixels a side; channels: 1 or 3;
    mean, std: of each channel in units of the full range (0 to 1); table: the fitted TableEncoder, or None.
    """

    roles: Mapping[str, Any]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    table: TableEncoder | None

    @property
    def target(self) -> Target:
        """What the model learned."""
        return target_of(self.roles["target"])

    def pixels(self, cohort: Cohort, cache_dir: Path) -> PixelCache | None:
        """The decoded images of `cohort`, where the model looks at images."""
        if "image" not in self.modalities:
            return None
        return PixelCache.open(cohort.image_paths, size=self.image_size, channels=self.channels, cache_dir=cache_dir)

    def source(
        self,
        cohort: Cohort,
        pixels: PixelCache | None,
        rows: NDArray[np.int64],
        *,
        batch_size: int,
        device: str,
        targets: Tensor | None = None,
        balanced: bool = False,
    ) -> BatchSource:
        """Batches of those rows of `cohort`, encoded as in training. balanced: see BatchSource."""
        return BatchSource(
            pixels,
            None if self.table is None else self.table.transform(cohort),
            targets,
            rows=rows,
            batch_size=batch_size,
            device=device,
            mean=self.mean,
            std=self.std,
            modalities=self.modalities,
            patients=cohort.patient_codes,
            balanced=balanced,
        )

    def architecture(
        self, *, image_encoder: str | None, table_encoder: str | None, fusion: str, head: str
    ) -> Architecture:
        """The model that fits this input."""
        return Architecture(
            image_encoder=image_encoder,
            table_encoder=table_encoder,
            fusion=fusion,
            head=head,
            num_classes=len(self.classes) or getattr(heads(head), "outputs", 1),
            channels=self.channels,
            image_size=self.image_size,
            num_features=0 if self.table is None else self.table.num_features,
            cardinalities=() if self.table is None else self.table.cardinalities,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in self.__dict__.items() if k != "table"},
            "table": None if self.table is None else self.table.to_json(),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> InputSpec:
        table = None if saved["table"] is None else TableEncoder.from_json(saved["table"])
        tuples = {k: tuple(saved[k]) for k in ("classes", "modalities", "mean", "std")}
        return cls(**{**saved, **tuples, "table": table})
