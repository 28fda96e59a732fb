"""The settings of a run in the process that trains: what they name is registered here."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from medfusion_jupyter.nn import fusions, heads, image_encoders, table_encoders
from medfusion_jupyter.settings.training import WATCHABLE, ConfigError, TrainingSettings

__all__ = ["WATCHABLE", "ConfigError", "TrainingConfig"]


class TrainingConfig(TrainingSettings):
    """Settings whose encoders, fusion and head are registered."""

    @field_validator("image_encoder", "tabular_encoder", "fusion", "head")
    @classmethod
    def _registered(cls, value: str | None, info: Any) -> str | None:
        registries: dict[str, Any] = {
            "image_encoder": image_encoders,
            "tabular_encoder": table_encoders,
            "fusion": fusions,
            "head": heads,
        }
        if value is not None:
            try:
                registries[info.field_name](value)
            except LookupError as unknown:
                raise ValueError(str(unknown)) from None
        return value
