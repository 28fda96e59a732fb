"""Where a model is to look."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field


class AttentionSettings(BaseModel):
    """The supervision of attention by what somebody marked in the images."""

    heading: ClassVar[str] = "Loss and regularisation"

    attention_supervision: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="weight of the share of Grad-CAM's attention that lies outside the cohort's masks or boxes, added to the "
            "loss; 0 is off, 1 is usual",
        ),
    ] = 0.0
