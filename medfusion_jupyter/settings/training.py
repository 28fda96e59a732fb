"""Every setting of a training run: its range, its unit, and how settings depend on one another."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from medfusion_jupyter.settings.augmentation import Augmentation

WATCHABLE = {"val/auroc": "max", "val/accuracy": "max", "val/loss": "min"}


class ConfigError(ValueError):
    """A setting that does not exist or has a value that is not allowed."""


class TrainingSettings(BaseModel):
    """Settings of `mf.train`. Each is one keyword; the description says what it does, its unit and its range.

    That the named parts exist is checked where they are: by `TrainingConfig` in the process that trains.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    name: Annotated[
        str | None, Field(min_length=1, max_length=200, description="the job's name, and that of its model")
    ] = None
    description: Annotated[str, Field(max_length=10_000, description="free text kept with the job")] = ""
    image_encoder: Annotated[str | None, Field(description="registered image encoder; None leaves the images out")] = (
        "resnet18"
    )
    tabular_encoder: Annotated[str | None, Field(description="registered table encoder; None leaves the table out")] = (
        "mlp"
    )
    fusion: Annotated[str, Field(description="registered fusion")] = "gated"
    head: Annotated[str, Field(description="registered head, which owns the loss")] = "classification"
    image_size: Annotated[
        int, Field(ge=8, le=1024, description="side in pixels to which images are scaled, 8 to 1024")
    ] = 128
    augment: Annotated[
        Augmentation | None,
        Field(description="True (the defaults of Augmentation), False, or its settings as a dict"),
    ] = Augmentation()
    epochs: Annotated[int, Field(ge=1, le=100_000, description="passes over the training part")] = 20
    batch_size: Annotated[int, Field(ge=2, le=65_536, description="rows a step, 2 or more")] = 32
    lr: Annotated[float, Field(gt=0, le=10, description="peak learning rate of AdamW")] = 3e-4
    weight_decay: Annotated[
        float, Field(ge=0, le=10, description="AdamW's decoupled weight decay; biases and norms have none")
    ] = 0.01
    warmup: Annotated[
        float, Field(ge=0, description="epochs in which the rate rises from 0 to lr; it then falls as a cosine")
    ] = 1.0
    patience: Annotated[
        int | None, Field(ge=1, description="epochs without a better watched metric before it ends early; None never")
    ] = 10
    watch: Annotated[
        str, Field(description="metric that chooses the best epoch: val/auroc, val/accuracy or val/loss")
    ] = "val/auroc"
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Field(description="auto: bfloat16 autocast on a GPU that has it, float32 elsewhere"),
    ] = "auto"
    device: Annotated[str, Field(description="auto, cpu, cuda or cuda:N")] = "auto"
    val: Annotated[float, Field(gt=0, lt=1, description="share of rows for validation, by patient")] = 0.2
    test: Annotated[float, Field(ge=0, lt=1, description="share of rows that training never sees, by patient")] = 0.2
    seed: Annotated[
        int, Field(ge=0, lt=2**31, description="of the split, the weights, the order and the augmentation")
    ] = 0

    @field_validator("augment", mode="before")
    @classmethod
    def _augment(cls, value: Any) -> Any:
        if value is True:
            return Augmentation()
        return None if value is False else value

    @field_validator("watch")
    @classmethod
    def _watchable(cls, value: str) -> str:
        if value not in WATCHABLE:
            raise ValueError(f"watch one of {', '.join(WATCHABLE)}")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.image_encoder is None and self.tabular_encoder is None:
            raise ValueError("image_encoder and tabular_encoder are both None: a model needs one of them")
        if self.val + self.test >= 1:
            raise ValueError(f"val={self.val} and test={self.test} leave nothing to train on: together below 1")
        return self

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
            raise ConfigError("\n".join(_in_words(error) for error in refused.errors())) from None


def _in_words(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    reason = error["msg"].removeprefix("Value error, ")
    if not where:
        return f"{reason}."
    field = TrainingSettings.model_fields.get(str(error["loc"][0]))
    meaning = f" ({where}: {field.description})" if field is not None and field.description else ""
    return f"{where}={error['input']!r}: {reason}.{meaning}"
