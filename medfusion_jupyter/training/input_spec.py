"""What a model expects of its input, stored with it: everything between a row of a cohort and a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data import Cohort, CohortError, PixelCache, TableEncoder, Target, target_of
from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.data.image_columns import TABLE
from medfusion_jupyter.data.image_steps import refuse_unfit
from medfusion_jupyter.data.pixel_cache import Size, Spacing
from medfusion_jupyter.data.targets import Classification
from medfusion_jupyter.data.units import same_unit
from medfusion_jupyter.nn import Architecture, heads
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing


@dataclass(frozen=True)
class InputSpec:
    """Roles of the columns, classes, and the encodings that were fit on the training part.

    roles: as `Cohort.roles()`; classes: names of classes, grades or labels in the order of the outputs, none of a number or a
    time; modalities: the names of the views, then `table`; image_size: pixels a side, of volumes (D, H, W); spacing: mm to which
    volumes are resampled; channels: 1 grey, 3 colours; mean, std: of each channel in units of the full range (0 to 1); table:
    the fitted TableEncoder, or None; units: those of numeric columns that have one. Without mean and std each image has its own.
    """

    roles: Mapping[str, Any]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    image_size: Size
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    table: TableEncoder | None
    spacing: Spacing = None
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def views(self) -> tuple[str, ...]:
        """The modalities that are images."""
        return tuple(name for name in self.modalities if name != TABLE)

    @property
    def has_bags(self) -> bool:
        """Whether an image of a row is a bag of several."""
        return bool(self.roles.get("bag"))

    @property
    def target(self) -> Target:
        """What the model learned, with the classes that it learned."""
        target = target_of(self.roles["target"])
        return replace(target, classes=self.classes) if isinstance(target, Classification) else target

    @property
    def image_preprocessing(self) -> ImagePreprocessing:
        """What images go through before they are normalised."""
        return ImagePreprocessing.model_validate(self.roles.get("image_preprocessing", {}))

    def pixels(self, cohort: Cohort, cache_dir: Path) -> PixelCache | None:
        """The decoded images of `cohort`, where the model looks at images. Raises CohortError where they are not such images."""
        if not self.views:
            return None
        window = self.roles.get("window")
        refuse_unfit(self.image_preprocessing, cohort)
        return decoded(
            cohort,
            self.image_size,
            self.spacing,
            channels=self.channels,
            window=None if window is None else tuple(window),
            preprocessing=self.image_preprocessing,
            cache_dir=cache_dir,
        )

    def refuse_other(self, cohort: Cohort) -> None:
        """Raise CohortError where a cohort has other views than the model learned from, or a column in another unit."""
        if self.views and (tuple(cohort.views) != self.views or bool(cohort.bag) != self.has_bags):
            raise CohortError(
                f"The model learned from the images {_shown(self.views, self.has_bags)}, and the cohort has "
                f"{_shown(tuple(cohort.views), bool(cohort.bag))}. Make the cohort with the same image= and bag=."
            )
        for column, unit in self.units.items():
            other = cohort.units.get(column)
            if other is not None and not same_unit(unit, other):
                raise CohortError(
                    f"The column {column!r} is in {other} here, and the model learned it in {unit}: convert the values to {unit}."
                )

    def source(
        self,
        cohort: Cohort,
        pixels: PixelCache | None,
        rows: NDArray[np.int64],
        *,
        batch_size: int,
        device: str,
        targets: NDArray[Any] | None = None,
        balanced: bool = False,
        max_images: int | None = None,
    ) -> BatchSource:
        """Batches of those rows of `cohort`, encoded as in training. balanced, max_images: see BatchSource."""
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
            max_images=max_images,
        )

    def architecture(
        self, *, image_encoder: str | None, table_encoder: str | None, fusion: str, head: str, **of_model: Any
    ) -> Architecture:
        """The model that fits this input. of_model: what else the architecture is told."""
        return Architecture(
            image_encoder=image_encoder,
            table_encoder=table_encoder,
            fusion=fusion,
            head=head,
            num_classes=0 if of_model.get("tasks") else num_outputs(self.target, head),
            channels=self.channels,
            image_size=self.image_size,
            num_features=0 if self.table is None else self.table.num_features,
            cardinalities=() if self.table is None else self.table.cardinalities,
            views=self.views if len(self.views) > 1 else (),
            **of_model,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in self.__dict__.items() if k != "table"},
            "table": None if self.table is None else self.table.to_json(),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> InputSpec:
        table = None if saved["table"] is None else TableEncoder.from_json(saved["table"])
        lists = ("classes", "modalities", "mean", "std", "image_size", "spacing")
        tuples = {k: tuple(saved[k]) for k in lists if isinstance(saved.get(k), list)}
        return cls(**{**saved, **tuples, "table": table})


def num_outputs(target: Target, head: str) -> int:
    """The `num_classes` of a head for a target."""
    return len(target.classes) or getattr(heads(head), "outputs", 1)


def decoded(
    cohort: Cohort,
    size: Size,
    spacing: Spacing,
    *,
    channels: int | None,
    window: tuple[float, float] | None,
    preprocessing: ImagePreprocessing,
    cache_dir: Path,
) -> PixelCache:
    """The images of a cohort, its slots laid out as BatchSource wants them. Raises CohortError for images where volumes are
    expected, and the other way round."""
    wanted = 2 if isinstance(size, int) else 3
    if cohort.dimensions != wanted:
        there, example = ("volumes", "(32, 64, 64)") if cohort.dimensions == 3 else ("flat", "128")
        raise CohortError(
            f"The images of the cohort are {there}, and image_size={size} is not of such; image_size={example} would be."
        )
    paths: NDArray[np.object_] = cohort.images
    if not cohort.bag:
        paths = paths[:, :, 0] if len(cohort.views) > 1 else paths[0, :, 0]
    return PixelCache.open(
        paths,
        size=size,
        channels=channels,
        spacing=spacing,
        window=window,
        preprocessing=preprocessing,
        cache_dir=cache_dir,
    )


def _shown(views: tuple[str, ...], bags: bool) -> str:
    return (", ".join(map(repr, views)) or "none") + (" (bags)" if bags else "")
