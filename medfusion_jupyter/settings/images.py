"""How images are scaled and encoded."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

Side = Annotated[int, Field(ge=8, le=1024)]
Millimetres = Annotated[float, Field(gt=0, le=100)]


class ImageSettings(BaseModel):
    """Size of the images, their encoder, and what becomes of several images a row."""

    image_encoder: Annotated[str | None, Field(description="registered image encoder; None leaves the images out")] = (
        "resnet18"
    )
    image_size: Annotated[
        Side | tuple[Side, Side, Side],
        Field(
            description="side in pixels to which images are scaled, 8 to 1024; for volumes (depth, height, width) in voxels, "
            "such as (32, 64, 64)"
        ),
    ] = 128
    spacing: Annotated[
        Millimetres | tuple[Millimetres, Millimetres, Millimetres] | None,
        Field(
            description="mm between voxels to which volumes are resampled, one number or one each for depth, height and width; "
            "what exceeds image_size is then cut around the centre. None stretches each volume to image_size"
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
        ),
    ] = 16

    @model_validator(mode="after")
    def _of_images(self) -> Self:
        if self.spacing is not None and isinstance(self.image_size, int):
            raise ValueError(
                f"spacing={self.spacing} is of volumes, and image_size={self.image_size} of images: give volumes "
                "image_size=(depth, height, width)"
            )
        return self
