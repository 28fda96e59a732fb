"""The settings of a run in the process that trains: what they name is registered here."""

from __future__ import annotations

from typing import Any, Self

from pydantic import field_validator, model_validator

from medfusion_jupyter.nn import aggregators, fusions, heads, image_encoders, table_encoders
from medfusion_jupyter.nn.image_encoders import refuse_size
from medfusion_jupyter.settings.training import ConfigError, TrainingSettings

__all__ = ["ConfigError", "TrainingConfig"]


class TrainingConfig(TrainingSettings):
    """Settings whose encoders, fusion and head are registered, and able to do what is asked of them."""

    @field_validator("image_encoder", "tabular_encoder", "fusion", "head", "bag")
    @classmethod
    def _registered(cls, value: str | None, info: Any) -> str | None:
        registries: dict[str, Any] = {
            "image_encoder": image_encoders,
            "tabular_encoder": table_encoders,
            "fusion": fusions,
            "head": heads,
            "bag": aggregators,
        }
        if value is not None and (info.field_name, value) not in (("head", "auto"), ("head", "multi_task")):
            try:
                registries[info.field_name](value)
            except LookupError as unknown:
                raise ValueError(str(unknown)) from None
        return value

    @field_validator("task_heads")
    @classmethod
    def _heads_registered(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for head in (value or {}).values():
            try:
                heads(head)
            except LookupError as unknown:
                raise ValueError(str(unknown)) from None
        return value

    def check_head(self) -> None:
        """Raise ValueError for a setting that the head does not allow, or of several targets none of their heads."""
        if self.head == "multi_task":
            self._check_heads_of_several()
        elif not _weighs_rows(self.head):
            for name in ("label_smoothing", "class_weights", "mixup", "cutmix"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name}={getattr(self, name)!r}: the head {self.head!r} does not allow it, for it has no row_losses"
                    )

    def _check_heads_of_several(self) -> None:
        for name in ("mixup", "cutmix"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}={getattr(self, name)} mixes the targets of two rows, and of several each row may know others: leave "
                    "it out, or learn one target"
                )
        if self.task_heads is None:
            return  # not fitted yet
        able = [name for name, head in self.task_heads.items() if _weighs_rows(head)]
        for name in ("label_smoothing", "class_weights"):
            if getattr(self, name) and not able:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is of classes, and none of the targets has a head of classes"
                )
        if self.class_weights is not None and self.class_weights != "balanced":
            named = self.class_weights if isinstance(self.class_weights, dict) else {}
            if not named or not all(isinstance(value, str | dict | tuple) for value in named.values()):
                raise ValueError(
                    f"class_weights={self.class_weights!r} does not say of which target: name it, such as "
                    f"{{{able[0]!r}: 'balanced'}}"
                )
            unable = next((name for name in named if name not in able), None)
            if unable is not None:
                raise ValueError(
                    f"class_weights names {unable!r}; the targets whose classes can weigh are {', '.join(able)}"
                )

    def weighed_targets(self) -> dict[str, Any]:
        """What `class_weights` says of each target, by its name; of one alone under no name. The settings are fitted to it."""
        if self.class_weights is None:
            return {}
        if self.head != "multi_task":
            return {"": self.class_weights}
        if self.class_weights == "balanced":
            return {name: "balanced" for name, head in (self.task_heads or {}).items() if _weighs_rows(head)}
        assert isinstance(self.class_weights, dict)
        return dict(self.class_weights)

    @model_validator(mode="after")
    def _able(self) -> Self:
        if self.head != "auto":
            self.check_head()
        if self.image_encoder is not None:
            self._refuse_unfit_encoder(self.image_encoder)
        if self.gradient_checkpointing and self.image_encoder is not None:
            encoder = image_encoders(self.image_encoder)
            if not getattr(encoder, "recomputes", False):
                raise ValueError(
                    f"gradient_checkpointing=True: the image encoder {self.image_encoder!r} does not allow it, for its images "
                    "do not pass through blocks"
                )
        return self

    def _refuse_unfit_encoder(self, name: str) -> None:
        encoder = image_encoders(name)
        if lacking := getattr(encoder, "lacking", None):
            raise ValueError(lacking)
        flat = isinstance(self.image_size, int)
        if getattr(encoder, "dimensions", 2) == 3 and flat:
            raise ValueError(
                f"image_encoder={name!r} takes volumes, and image_size={self.image_size} is of images: give "
                "image_size=(depth, height, width), such as (32, 64, 64), or an encoder of images, such as resnet18"
            )
        if getattr(encoder, "dimensions", 2) == 2 and not flat:
            raise ValueError(
                f"image_encoder={name!r} takes images, and image_size={self.image_size} is of volumes: give an encoder of "
                "volumes, such as light_cnn_3d or r3d_18"
            )
        if hasattr(encoder, "smallest"):
            refuse_size(encoder, name, self.image_size)


def _weighs_rows(head: str) -> bool:
    return bool(getattr(heads(head), "weighs_rows", False))
