"""When a run is saved, and how much of it is kept."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field, field_validator


class CheckpointSettings(BaseModel):
    """Checkpoints beside those of every epoch, and those that are kept beside the last one."""

    heading: ClassVar[str] = "Checkpoints"

    checkpoint_minutes: Annotated[
        float | None,
        Field(
            gt=0,
            description="minutes after which a checkpoint is made within an epoch too; None makes one after each epoch alone",
            json_schema_extra={"unit": "min"},
        ),
    ] = 15.0
    save_top_k: Annotated[
        int,
        Field(
            ge=-1,
            description="best epochs by the watched metric whose checkpoints are kept, 1 or more; -1 is all",
            json_schema_extra={"unit": "epochs"},
        ),
    ] = 1

    @field_validator("save_top_k")
    @classmethod
    def _the_best_at_least(cls, value: int) -> int:
        if value == 0:
            raise ValueError("the best is always kept: give 1 or more, or -1 for all epochs")
        return value
