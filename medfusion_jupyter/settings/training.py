"""Every setting of a training run: its range, its unit, and how settings depend on one another."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from medfusion_jupyter.settings.attention import AttentionSettings
from medfusion_jupyter.settings.augmentation import Augmentation
from medfusion_jupyter.settings.checkpoints import CheckpointSettings
from medfusion_jupyter.settings.computation import ComputationSettings
from medfusion_jupyter.settings.image_encoder import ImageEncoderSettings
from medfusion_jupyter.settings.limits import LimitSettings
from medfusion_jupyter.settings.optimisation import MOST_BATCHES_A_STEP, OptimisationSettings
from medfusion_jupyter.settings.refusals import in_words, kinds_of, reason, shown
from medfusion_jupyter.settings.regularisation import RegularisationSettings
from medfusion_jupyter.settings.schedule import ScheduleSettings
from medfusion_jupyter.settings.views_and_volumes import Side, ViewsAndVolumesSettings

__all__ = ["ConfigError", "TrainingSettings"]

ONLY_WITH = {
    "momentum": ("optimizer", "sgd"),
    "nesterov": ("optimizer", "sgd"),
    "milestones": ("schedule", "step"),
    "gamma": ("schedule", "step"),
    "plateau_factor": ("schedule", "plateau"),
    "plateau_patience": ("schedule", "plateau"),
    "plateau_threshold": ("schedule", "plateau"),
}
"""Settings that mean something with one value of another alone."""

OF_IMAGES = (
    "cutmix",
    "channels_last",
    "gradient_checkpointing",
    "attention_supervision",
    "spacing",
    "bag",
    "max_images",
    "shared_encoder",
)
"""Settings that do nothing without an image encoder. `image_size` and `augment` have a value in every run."""

OF_SEVERAL_TYPES = ("class_weights", "unfreeze_epoch", "image_size", "spacing")
"""Settings for which pydantic gives one error a type that they might have had."""


class ConfigError(ValueError):
    """A setting that does not exist or has a value that is not allowed."""


class TrainingSettings(
    LimitSettings,
    CheckpointSettings,
    RegularisationSettings,
    ScheduleSettings,
    OptimisationSettings,
    ComputationSettings,
    ViewsAndVolumesSettings,
    ImageEncoderSettings,
    AttentionSettings,
):
    """Settings of `mf.train`. Each is one keyword; the description says what it does, its unit and its range.

    That the named parts exist is checked where they are: by `TrainingConfig` in the process that trains.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            description="the job's name, and that of its model",
            json_schema_extra={"group": "Name and description"},
        ),
    ] = None
    description: Annotated[
        str,
        Field(
            max_length=10_000,
            description="free text kept with the job",
            json_schema_extra={"group": "Name and description"},
        ),
    ] = ""
    image_encoder: Annotated[str | None, Field(description="registered image encoder; None leaves the images out")] = (
        "resnet18"
    )
    tabular_encoder: Annotated[str | None, Field(description="registered table encoder; None leaves the table out")] = (
        "mlp"
    )
    fusion: Annotated[str, Field(description="registered fusion")] = "gated"
    head: Annotated[
        str,
        Field(
            description="registered head, which owns the loss; auto is that of the target: classification, multilabel, ordinal, "
            "regression, or cox of survival"
        ),
    ] = "auto"
    image_size: Annotated[
        Side | tuple[Side, Side, Side],
        Field(
            description="side in pixels to which images are scaled, 8 to 1024; for volumes (depth, height, width) in voxels, "
            "such as (32, 64, 64)",
            json_schema_extra={"unit": "px"},
        ),
    ] = 128
    augment: Annotated[
        Augmentation | None,
        Field(description="True (the defaults of Augmentation), False, or its settings as a dict"),
    ] = Augmentation()
    val: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="share of rows for validation, by patient",
            json_schema_extra={"unit": "share of rows"},
        ),
    ] = 0.2
    test: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of rows that training never sees, by patient",
            json_schema_extra={"unit": "share of rows"},
        ),
    ] = 0.2

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """mixup=True is not meant as 1.0."""
        if isinstance(value, bool) and info.field_name != "augment":
            kinds = kinds_of(cls.model_fields[info.field_name or ""].annotation)
            if bool not in kinds and {int, float} & set(kinds):
                raise PydanticKnownError("float_type")
        return value

    @field_validator("augment", mode="before")
    @classmethod
    def _augment(cls, value: Any) -> Any:
        if value is True:
            return Augmentation()
        return None if value is False else value

    @model_validator(mode="after")
    def _parts_and_shares(self) -> Self:
        if self.image_encoder is None and self.tabular_encoder is None:
            raise ValueError("image_encoder and tabular_encoder are both None: a model needs one of them")
        if self.spacing is not None and isinstance(self.image_size, int):
            raise ValueError(
                f"spacing={self.spacing} is of volumes, and image_size={self.image_size} of images: give volumes "
                "image_size=(depth, height, width)"
            )
        if self.val + self.test >= 1:
            raise ValueError(f"val={self.val} and test={self.test} leave nothing to train on: together below 1")
        if self.image_encoder is None:
            for name in OF_IMAGES:
                value = getattr(self, name)
                if value != type(self).model_fields[name].default:
                    raise ValueError(f"{name}={value!r} is of images, and image_encoder is None: leave {name} out")
        return self

    @model_validator(mode="after")
    def _effective(self) -> Self:
        """A setting that would do nothing is refused, not ignored."""
        for name, (other, value) in ONLY_WITH.items():
            if getattr(self, name) is not None and getattr(self, other) != value:
                raise ValueError(
                    f"{name} is of {other}={value!r}; it does nothing with {other}={getattr(self, other)!r}"
                )
        if self.warmup is not None and self.warmup_steps is not None:
            raise ValueError("warmup (epochs) and warmup_steps are two ways to say the same: keep one")
        if self.schedule == "step" and not self.milestones:
            raise ValueError("schedule='step' needs milestones, such as milestones=[10, 15]")
        if self.milestones and list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones={list(self.milestones)} must rise")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum above 0")
        if self.min_delta and self.patience is None:
            raise ValueError("min_delta is of early stopping, and patience is None")
        if self.class_weights == "balanced" and self.sampler == "balanced":
            raise ValueError("class_weights='balanced' and sampler='balanced' would weigh the classes twice: keep one")
        return self

    @model_validator(mode="after")
    def _shared(self) -> Self:
        if self.sync_batchnorm and self.devices == 1:
            raise ValueError("sync_batchnorm is of several GPUs, and devices=1")
        if self.sync_batchnorm and self.device == "cpu":
            raise ValueError("sync_batchnorm is of GPUs, and device='cpu'")
        if self.devices > 1 and self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(
                f"devices={self.devices} takes the first GPUs, and device={self.device!r} names one: use 'cuda'"
            )
        if self.devices > 1 and self.on_out_of_memory != "fail":
            raise ValueError(
                f"on_out_of_memory={self.on_out_of_memory!r} is of one device, and devices={self.devices}: where one has no "
                "memory left, the others wait for it. Set a smaller batch_size with accumulate_grad_batches yourself"
            )
        if self.batch_size < 2 * self.devices:
            raise ValueError(
                f"batch_size={self.batch_size} is too small for devices={self.devices}: each takes 2 rows of it or more"
            )
        return self

    @model_validator(mode="after")
    def _unfrozen(self) -> Self:
        if self.unfreeze_epoch is not None and not self.freeze:
            raise ValueError("unfreeze_epoch is of frozen parts, and freeze names none")
        if isinstance(self.unfreeze_epoch, dict):
            for name in self.unfreeze_epoch:
                if name not in self.freeze:
                    raise ValueError(f"unfreeze_epoch names {name!r}, which freeze does not: {list(self.freeze)}")
        for name in self.unfreeze:
            if not any(name == frozen or name.startswith(f"{frozen}.") for frozen in self.freeze):
                raise ValueError(
                    f"unfreeze names {name!r}, which is not in what freeze names: {', '.join(self.freeze) or 'nothing'}"
                )
        for name in self.freeze:
            part = name.split(".")[0]
            if part in ("image_encoder", "tabular_encoder") and getattr(self, part) is None:
                raise ValueError(f"freeze names {name!r}, and {part} is None")
        return self

    @model_validator(mode="after")
    def _of_the_image_encoder(self) -> Self:
        if self.image_weights is not None and self.image_encoder is None:
            raise ValueError(f"image_weights={self.image_weights!r} are of images, and image_encoder is None")
        if self.cache_features and self.devices > 1:
            raise ValueError(f"cache_features=True is of one device, and devices={self.devices}")
        if self.cache_features and (reason := self.why_features_change()) is not None:
            raise ValueError(
                f"cache_features=True: the features of an image are not the same in every epoch, for {reason}"
            )
        return self

    @model_validator(mode="after")
    def _of_attention(self) -> Self:
        if self.attention_supervision:
            if self.head not in ("auto", "classification", "focal"):
                raise ValueError(
                    f"attention_supervision is of classes (head='classification' or 'focal'), and head={self.head!r}"
                )
            for name, off in (("mixup", 0.0), ("cutmix", 0.0), ("compile", False), ("devices", 1)):
                if getattr(self, name) != off:
                    raise ValueError(
                        f"attention_supervision cannot be had with {name}={getattr(self, name)}: set {name}={off}"
                    )
        return self

    def why_features_change(self) -> str | None:
        """What makes the features of an image differ between epochs; None where they stay as they are."""
        if self.image_encoder is None:
            return "image_encoder is None"
        if "image_encoder" not in self.freeze:
            return "the image encoder learns; set freeze=['image_encoder']"
        until = self.unfreeze_epoch
        thawing = until if isinstance(until, dict) else dict.fromkeys(self.freeze, until) if until else {}
        if any(part.split(".")[0] == "image_encoder" for part in thawing):
            return f"the image encoder learns from an epoch on (unfreeze_epoch={until!r})"
        if self.attention_supervision:
            return "attention_supervision looks at the images"
        if any(part.split(".")[0] == "image_encoder" for part in self.unfreeze):
            return f"parts of the image encoder learn (unfreeze={list(self.unfreeze)})"
        for name in ("augment", "mixup", "cutmix"):
            if getattr(self, name):
                return f"{name} changes the images; set {name}={False if name == 'augment' else 0}"
        return None

    def smaller_batch(self) -> dict[str, Any] | None:
        """The settings that give each step, and each validation, the same rows in the fewest smaller batches.

        None where there are none: a batch has 2 rows or more, and `accumulate_grad_batches` its range.
        """
        parts = next((n for n in range(2, self.batch_size // 2 + 1) if self.batch_size % n == 0), None)
        if parts is None:
            return None
        smaller: dict[str, Any] = {
            "batch_size": self.batch_size // parts,
            "accumulate_grad_batches": self.accumulate_grad_batches * parts,
        }
        if self.limit_val_batches is not None and self.limit_val_batches >= 1:
            smaller["limit_val_batches"] = self.limit_val_batches * parts
        return smaller if smaller["accumulate_grad_batches"] <= MOST_BATCHES_A_STEP else None

    def parts(self) -> dict[str, str | None]:
        """Names of the parts that the model is made of."""
        return self.model_dump(include={"image_encoder", "tabular_encoder", "fusion", "head"})

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        """Validate keywords. Raises ConfigError that names each bad one, what is allowed and the closest name."""
        for unknown in sorted(settings.keys() - cls.model_fields.keys()):
            near = difflib.get_close_matches(unknown, cls.model_fields, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"mf.train has no setting {unknown!r}.{hint} The settings are: {', '.join(sorted(cls.model_fields))}."
            )
        try:
            return cls.model_validate(settings)
        except ValidationError as refused:
            errors: list[Any] = refused.errors()
            mixed = [name for name in OF_SEVERAL_TYPES if any(error["loc"][:1] == (name,) for error in errors)]
            lines = [in_words(error, cls) for error in errors if error["loc"][:1] not in [(name,) for name in mixed]]
            for name in mixed:
                reasons = dict.fromkeys(reason(error, cls) for error in errors if error["loc"][0] == name)
                meaning = cls.model_fields[name].description
                lines.append(f"{name}={shown(settings[name])}: {'; or: '.join(reasons)}. ({name}: {meaning})")
            raise ConfigError("\n".join(lines)) from None
