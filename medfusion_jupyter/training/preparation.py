"""From a split cohort and a configuration to batches and a model that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medfusion_jupyter.data import Cohort, PixelCache, Split, TableEncoder
from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.data.boxes import MarkedBoxes, laid_over
from medfusion_jupyter.data.image_columns import TABLE
from medfusion_jupyter.data.image_steps import mean_and_std_of
from medfusion_jupyter.data.training_part import absent_modalities
from medfusion_jupyter.nn import Architecture, Task
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.fitting import fitted, targets_of
from medfusion_jupyter.training.input_spec import InputSpec, decoded, num_outputs
from medfusion_jupyter.training.objective import weights_of_classes

VALIDATION_BATCHES = 4
"""A batch of validation has so many times the rows of one of training: no gradients are kept there."""


@dataclass(frozen=True)
class Prepared:
    """What a run trains on.

    targets: of each row of the cohort, as `targets_of` gives them; class_weights: `(K,)` by the name of the target, under no name
    where there is one, of those whose classes do not count the same.
    """

    spec: InputSpec
    architecture: Architecture
    train: BatchSource
    val: BatchSource
    targets: Tensor
    class_weights: dict[str, NDArray[np.float32]]


def modalities_of(config: TrainingConfig, cohort: Cohort) -> tuple[str, ...]:
    """The modalities that a run uses. Raises ConfigError where the cohort lacks what was asked for by name."""
    has_table = bool(cohort.numeric or cohort.categorical)
    wanted: list[str] = []
    for setting, there, names in (
        ("image_encoder", bool(cohort.views), tuple(cohort.views)),
        ("tabular_encoder", has_table, (TABLE,)),
    ):
        encoder = getattr(config, setting)
        if encoder is not None and there:
            wanted += names
        elif encoder is not None and setting in config.model_fields_set:
            column = "image column (image=…)" if setting == "image_encoder" else "numeric or categorical columns"
            raise ConfigError(
                f"{setting}={encoder!r}, but the cohort has no {column}. Give the cohort one, or set {setting}=None."
            )
    _refuse_unfit_images(config, cohort)
    if not wanted:
        raise ConfigError(
            "The cohort has neither an image column nor table columns that this configuration uses: nothing to learn from."
        )
    return tuple(wanted)


def refuse_absent(split: Split, used: Sequence[str]) -> None:
    """Raise ConfigError where no row of the training part has one of the modalities that a run uses."""
    for name in absent_modalities(split):
        if name == TABLE and name in used:
            raise ConfigError(
                "No numeric or categorical column has a value in the training part: there is no table to learn from. Split so "
                "that it has some, or set tabular_encoder=None to use images alone."
            )
        if name in used:
            raise ConfigError(
                f"No row of the training part has an image in the column {split.cohort.views[name]!r}: a model of it cannot be "
                "trained. Split so that it has some, make the cohort without that column, or set image_encoder=None."
            )


def _refuse_unfit_images(config: TrainingConfig, cohort: Cohort) -> None:
    """A setting that would do nothing, or could not be done, with the images of this cohort."""
    for setting in ("cutmix", "channels_last", "gradient_checkpointing"):
        if getattr(config, setting) and not cohort.views:
            raise ConfigError(f"{setting}={getattr(config, setting)} is of images, and the cohort has no image column.")
    if cohort.views and config.image_encoder is not None:
        if cohort.dimensions == 3 and isinstance(config.image_size, int):
            raise ConfigError(
                f"The images of the cohort are volumes, and image_encoder={config.image_encoder!r} with "
                f"image_size={config.image_size} is of flat images: give image_size=(depth, height, width), such as (32, 64, "
                "64), and an encoder of volumes, such as light_cnn_3d or r3d_18."
            )
        if cohort.dimensions == 2 and not isinstance(config.image_size, int):
            raise ConfigError(
                f"The images of the cohort are flat, and image_encoder={config.image_encoder!r} with "
                f"image_size={config.image_size} is of volumes: give one side, such as image_size=128, and an encoder of images, "
                "such as resnet18."
            )
    if config.cache_features and (cohort.bag or not cohort.views or not config.shared_encoder):
        raise ConfigError(
            "cache_features=True is of cohorts with images that all pass through one encoder, and without bags; leave it out."
        )
    marks = cohort.mask or cohort.boxes
    if config.attention_supervision and (marks is None or cohort.dimensions != 2):
        raise ConfigError(
            f"attention_supervision={config.attention_supervision} needs what was marked in flat images: make the cohort with "
            "mask='column', the paths of the masks, or boxes='column', lists of [x0, y0, x1, y1]."
        )
    if config.attention_supervision and cohort.mask and not any(cohort.mask_paths):
        raise ConfigError(f"None of the masks in the column {cohort.mask!r} is in {cohort.image_root}.")
    if config.attention_supervision and cohort.boxes and not any(len(places) for places in cohort.box_places):
        raise ConfigError(f"No row has a box: boxes={cohort.boxes!r} is empty in all of them.")
    defaults = TrainingConfig.model_fields
    for setting in ("bag", "max_images"):
        value = getattr(config, setting)
        if value != defaults[setting].default and not cohort.bag:
            raise ConfigError(
                f"{setting}={value!r} is of bags, and the cohort has one image a row: make it with bag=True or bag='column'."
            )
    if cohort.bag and (config.mixup or config.cutmix):
        name = "mixup" if config.mixup else "cutmix"
        raise ConfigError(
            f"{name}={getattr(config, name)} mixes two images, and the cohort has bags of them: leave it out."
        )
    if not config.shared_encoder and len(cohort.views) < 2:
        raise ConfigError("shared_encoder=False is of several views, and the cohort has not got them: image=[…, …].")


def prepare(
    split: Split, config: TrainingConfig, *, device: str, cache_dir: Path, spec: InputSpec | None = None
) -> Prepared:
    """Decode the images, fit the encodings on the training part and lay out the batches.

    spec: that of the checkpoint where a run goes on; nothing is fit anew then.
    """
    cohort = split.cohort
    config = fitted(config, cohort.target.tasks)
    targets = targets_of(cohort)
    modalities = spec.modalities if spec is not None else modalities_of(config, cohort)
    has_images = any(name != TABLE for name in modalities)
    pixels = None
    if has_images:
        pixels = decoded(
            cohort,
            config.image_size,
            config.spacing,
            channels=None if spec is None else spec.channels,
            window=cohort.window,
            preprocessing=cohort.image_preprocessing,
            cache_dir=cache_dir,
        )
    if spec is None:
        spec = _fit(split, config, modalities, pixels)
    batches = partial(spec.source, cohort, pixels, device=device, targets=targets.numpy())
    prepared = Prepared(
        spec=spec,
        architecture=spec.architecture(
            image_encoder=config.image_encoder if has_images else None,
            table_encoder=config.tabular_encoder if TABLE in modalities else None,
            fusion=config.fusion,
            head=config.head,
            shared_encoder=config.shared_encoder,
            aggregator=config.bag if has_images and spec.has_bags else None,
            modality_dropout=config.modality_dropout,
            tasks=_tasks(config, spec),
        ),
        train=batches(
            split.rows["train"],
            batch_size=config.batch_size,
            balanced=config.sampler == "balanced",
            max_images=config.max_images,
        ),
        val=batches(_validated_rows(split, config), batch_size=VALIDATION_BATCHES * config.batch_size),
        targets=targets,
        class_weights=class_weights(split, config),
    )
    if config.attention_supervision:
        masks = _masks(cohort, config, cache_dir)
        prepared.train.read_masks(masks)
        prepared.val.read_masks(masks)
    return prepared


def _tasks(config: TrainingConfig, spec: InputSpec) -> tuple[Task, ...]:
    """The heads of several tasks; none where there is one head."""
    named, weights = config.task_heads or {}, config.task_weights or {}
    return tuple(
        Task(name, head, num_outputs(spec.target.parts[name], head), weights.get(name, 1.0))
        for name, head in named.items()
    )


def _masks(cohort: Cohort, config: TrainingConfig, cache_dir: Path) -> PixelCache | MarkedBoxes:
    assert isinstance(config.image_size, int)
    if cohort.boxes is not None:
        return laid_over(
            cohort.box_places,
            cohort.image_paths,
            size=config.image_size,
            window=cohort.window,
            preprocessing=cohort.image_preprocessing,
        )
    return PixelCache.open(
        cohort.mask_paths,
        size=config.image_size,
        channels=1,
        window=cohort.window,
        # a mask is cropped and resized as its image is; it has no contrast
        preprocessing=cohort.image_preprocessing.model_copy(update={"clahe": None}),
        of_images=cohort.image_paths,
        cache_dir=cache_dir,
    )


def class_weights(split: Split, config: TrainingConfig) -> dict[str, NDArray[np.float32]]:
    """The weight of each class `(K,)`, by the name of the target. Raises ConfigError where the setting does not fit its classes.

    config: fitted to the target.
    """
    parts = split.cohort.target.by_part(split.cohort.targets[split.rows["train"]])
    found = {}
    for name, wanted in config.weighed_targets().items():
        try:
            weights = weights_of_classes(wanted, parts[name].target.classes, parts[name].values)
        except ConfigError as refused:
            raise ConfigError(f"target {name!r}: {refused}" if name else str(refused)) from None
        if weights is not None:
            found[name] = weights
    return found


def _validated_rows(split: Split, config: TrainingConfig) -> NDArray[np.int64]:
    """All rows of the validation part, or as many as `limit_val_batches` says, each class or range with its share of them."""
    rows, limit = split.rows["val"], config.limit_val_batches
    if limit is None:
        return rows
    size = VALIDATION_BATCHES * config.batch_size
    count = int(limit) * size if limit >= 1 else max(1, round(limit * len(rows)))
    if count >= len(rows):
        return rows
    shuffled = np.random.default_rng(config.seed).permutation(rows)
    members = [one.rows[shuffled] for one in split.cohort.target.strata(split.cohort.targets)]
    stratum = np.argmax(members, axis=0)
    # the place of each row among those of its class, from 0 to 1: the first of these in all are a stratified sample
    place = np.zeros(len(rows))
    for code in np.unique(stratum):
        of_class = np.flatnonzero(stratum == code)
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    chosen: NDArray[np.int64] = np.sort(shuffled[np.argsort(place, kind="stable")[:count]])
    return chosen


def _fit(split: Split, config: TrainingConfig, modalities: tuple[str, ...], pixels: PixelCache | None) -> InputSpec:
    mean_and_std: Sequence[Sequence[float]] = ((), ())
    if pixels is not None:
        slots = np.atleast_2d(pixels.slots)[:, split.rows["train"]]
        for view, of_view in zip(split.cohort.views, slots, strict=True):
            if (of_view < 0).all():
                raise ConfigError(
                    f"No image{'' if view == 'image' else f' {view!r}'} of the training part can be read; a model of it cannot "
                    "be trained. Mend the files, make the cohort without that column, or set image_encoder=None. "
                    f"({pixels.unreadable})"
                )
        known = mean_and_std_of(split.cohort.image_preprocessing, pixels.channels)
        mean_and_std = known if known is not None else [each.tolist() for each in pixels.statistics(slots)]
    table = TableEncoder.fit(split.train) if TABLE in modalities else None
    return InputSpec(
        roles=split.cohort.roles(),
        classes=tuple(split.cohort.classes),
        modalities=modalities,
        image_size=config.image_size,
        channels=0 if pixels is None else pixels.channels,
        mean=tuple(mean_and_std[0]),
        std=tuple(mean_and_std[1]),
        table=table,
        spacing=config.spacing,
        units={column: unit for column, unit in split.cohort.units.items() if unit is not None},
    )
