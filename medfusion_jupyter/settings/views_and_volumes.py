"""What becomes of several images a row, and of volumes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

Side = Annotated[int, Field(ge=8, le=1024)]
"""Pixels or voxels along an axis."""

Millimetres = Annotated[float, Field(gt=0, le=100)]


class ViewsAndVolumesSettings(BaseModel):
    """Views, bags and volumes."""

    heading: ClassVar[str] = "Several images a row, and volumes"

    spacing: Annotated[
        Millimetres | tuple[Millimetres, Millimetres, Millimetres] | None,
        Field(
            description="mm between voxels to which volumes are resampled, one number or one each for depth, height and width; "
            "what exceeds image_size is then cut around the centre. None stretches each volume to image_size",
            json_schema_extra={"unit": "mm"},
        ),
    ] = None
    shared_encoder: Annotated[
        bool,
        Field(description="whether the views of a row pass through one image encoder (True) or each through its own"),
    ] = True
    bag: Annotated[str, Field(description="registered aggregator, which makes one vector of the images of a bag")] = (
        "attention"
    )
    max_images: Annotated[
        int | None,
        Field(
            ge=1,
            description="images of a bag that a training step takes, drawn anew each time; None takes all. Validation and "
            "prediction always take all",
            json_schema_extra={"unit": "images"},
        ),
    ] = 16
