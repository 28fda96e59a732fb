"""What keeps a model from learning its rows by heart, or the frequent class alone."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

PARTS = ("image_encoder", "tabular_encoder", "fusion", "head")

ClassWeights = Literal["balanced"] | dict[str, float] | tuple[float, ...]
"""Of the classes of one target."""


class RegularisationSettings(BaseModel):
    """The loss, the drawing and mixing of rows, the average of the weights, and what is frozen."""

    heading: ClassVar[str] = "Loss and regularisation"

    label_smoothing: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of each target spread evenly over all classes, 0 to below 1; of several targets, of those of "
            "classes",
            json_schema_extra={"unit": "share of the target"},
        ),
    ] = 0.0
    class_weights: Annotated[
        ClassWeights | dict[str, ClassWeights] | None,
        Field(
            description="weight of each class in the training loss: 'balanced' (rows / (classes x rows of the class)), a dict by "
            "class name, or a list in the order of the classes; each above 0. Of several targets: 'balanced' for all that have "
            "classes, or a dict of these by target, such as {'icu': 'balanced'}"
        ),
    ] = None
    task_heads: Annotated[
        dict[str, str] | None,
        Field(
            description="of several targets: the registered head of each, by name, such as {'death': 'hazard'}; what is not "
            "named has that of head='auto'"
        ),
    ] = None
    task_weights: Annotated[
        dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None,
        Field(
            description="of several targets: what the loss of each counts in their sum, by name, above 0; 1 where none is named"
        ),
    ] = None
    sampler: Annotated[
        Literal["shuffle", "balanced"],
        Field(
            description="shuffle: every row once an epoch; balanced: rows drawn with replacement, each class as often"
        ),
    ] = "shuffle"
    mixup: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="alpha of mixup of images and table, share ~ Beta(alpha, alpha) of each batch; 0 is off, 0.2 is usual. A "
            "row is mixed with one that has the same modalities",
        ),
    ] = 0.0
    cutmix: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="alpha of CutMix; 0 is off, 1 is usual. With mixup too, each batch takes one of them",
        ),
    ] = 0.0
    modality_dropout: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="chance that a row with several modalities loses one of them in a training step, 0 to below 1: the model "
            "learns to do with either",
            json_schema_extra={"unit": "probability"},
        ),
    ] = 0.0
    ema_decay: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="decay of the moving average of the weights, that is validated and kept as the model",
        ),
    ] = None
    freeze: Annotated[
        tuple[str, ...],
        Field(
            description="parts that do not learn: image_encoder, tabular_encoder, fusion, head, or a module within one, such as "
            "image_encoder.stem"
        ),
    ] = ()
    unfreeze_epoch: Annotated[
        Annotated[int, Field(ge=2)] | dict[str, Annotated[int, Field(ge=2)]] | None,
        Field(
            description="epoch, 2 or later, from which frozen parts learn: one for all, or a dict by part; None never",
            json_schema_extra={"unit": "epoch"},
        ),
    ] = None
    unfreeze: Annotated[
        tuple[str, ...],
        Field(
            description="parts of what freeze names that learn nevertheless, such as image_encoder.stem, or 'all'; in a run that "
            "goes on they are thawed by job.set(unfreeze=…)"
        ),
    ] = ()

    @model_validator(mode="before")
    @classmethod
    def _all_thawed(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("unfreeze") != "all":
            return values
        if not values.get("freeze"):
            raise ValueError("unfreeze='all', and nothing is frozen")
        return {**values, "unfreeze": tuple(values["freeze"])}

    @field_validator("class_weights")
    @classmethod
    def _positive(cls, value: object) -> object:
        weights = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
        for weight in weights:
            if isinstance(weight, dict | tuple):
                cls._positive(weight)
            elif not isinstance(weight, str) and not (weight > 0 and math.isfinite(weight)):
                raise ValueError("each weight must be a number above 0")
        return value

    @field_validator("freeze")
    @classmethod
    def _parts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name.split(".")[0] not in PARTS:
                raise ValueError(f"{name!r} is no part of a model: freeze some of {', '.join(PARTS)}")
        if set(PARTS) <= set(value):
            raise ValueError("all parts are frozen: nothing would learn")
        return value
