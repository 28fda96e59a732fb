"""What the image encoder starts from, and when its features are computed once for all epochs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field


class ImageEncoderSettings(BaseModel):
    """The weights that the image encoder starts from, and the cache of what a frozen one makes of the images."""

    heading: ClassVar[str] = "Start of the image encoder"

    image_weights: Annotated[
        str | None,
        Field(
            description="what the image encoder starts from: 'default' (torchvision's weights), a file of weights with the "
            "names of torchvision or MedicalNet, or a job whose model has the same image encoder, such as job_0001; None: random "
            "weights"
        ),
    ] = None
    cache_features: Annotated[
        bool | None,
        Field(
            description="compute the features of a frozen image encoder once and keep them on the disk; None: where the result "
            "is that of computing them in each epoch, which needs freeze=['image_encoder'] and augment=False"
        ),
    ] = None
