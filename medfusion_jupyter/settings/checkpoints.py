"""When a run is saved, and how much of it is kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field


class CheckpointSettings(BaseModel):
    """Checkpoints beside those of every epoch."""

    checkpoint_minutes: Annotated[
        float | None,
        Field(
            gt=0,
            description="minutes after which a checkpoint is made within an epoch too; None makes one after each epoch alone",
        ),
    ] = 15.0
