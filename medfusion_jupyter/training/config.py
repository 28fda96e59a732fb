"""The settings of a run in the process that trains: what they name is registered here."""

from __future__ import annotations

from typing import Any, Self

from pydantic import field_validator, model_validator

from medfusion_jupyter.nn import aggregators, fusions, heads, image_encoders, table_encoders
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
        """Raise ValueError for a setting that the head does not allow."""
        if self.head == "multi_task" or not getattr(heads(self.head), "weighs_rows", False):
            for name in ("label_smoothing", "class_weights", "mixup", "cutmix"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name}={getattr(self, name)!r}: the head {self.head!r} does not allow it, for it has no row_losses"
                    )

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
