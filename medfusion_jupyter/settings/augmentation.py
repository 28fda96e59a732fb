"""How far images are changed in training."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Augmentation(BaseModel):
    """How far images are changed in training. Each is drawn anew for each image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: Annotated[
        float,
        Field(ge=0, le=1, description="probability of a left-right flip", json_schema_extra={"unit": "probability"}),
    ] = 0.5
    rotate: Annotated[
        float, Field(ge=0, le=180, description="largest rotation in degrees", json_schema_extra={"unit": "degrees"})
    ] = 10.0
    translate: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            description="largest shift as a share of the side",
            json_schema_extra={"unit": "share of the side"},
        ),
    ] = 0.05
    scale: Annotated[
        float,
        Field(
            ge=0, lt=1, description="largest change of size as a share", json_schema_extra={"unit": "share of the size"}
        ),
    ] = 0.05
    brightness: Annotated[
        float,
        Field(
            ge=0,
            le=5,
            description="largest shift of the grey value in standard deviations of the training images",
            json_schema_extra={"unit": "standard deviations"},
        ),
    ] = 0.1
    contrast: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="largest change of the contrast as a share",
            json_schema_extra={"unit": "share of the contrast"},
        ),
    ] = 0.1
