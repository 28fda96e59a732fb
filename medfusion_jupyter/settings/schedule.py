"""How the learning rate changes over the steps of a run."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field


class ScheduleSettings(BaseModel):
    """The course of the learning rate below its peak `lr`."""

    heading: ClassVar[str] = "Learning rate"

    schedule: Annotated[
        Literal["constant", "step", "cosine", "onecycle", "plateau"],
        Field(
            description="course of the rate after the warm-up: constant; step: times gamma at each of the milestones; cosine: "
            "to 0; onecycle: from lr/25 up and to lr/250000; plateau: times plateau_factor when the watched metric stands still"
        ),
    ] = "cosine"
    warmup: Annotated[
        float | None,
        Field(
            ge=0,
            description="epochs in which the rate rises to lr; None is 1, for onecycle 30 % of the run",
            json_schema_extra={"unit": "epochs"},
        ),
    ] = None
    warmup_steps: Annotated[
        int | None,
        Field(
            ge=0,
            description="the same in steps of the optimiser, in place of warmup",
            json_schema_extra={"unit": "steps"},
        ),
    ] = None
    milestones: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...] | None,
        Field(
            description="finished epochs after which schedule='step' lowers the rate, rising, such as [10, 15]",
            json_schema_extra={"unit": "epochs"},
        ),
    ] = None
    gamma: Annotated[
        float | None, Field(gt=0, lt=1, description="factor of schedule='step' at each milestone; None is 0.1")
    ] = None
    plateau_factor: Annotated[
        float | None, Field(gt=0, lt=1, description="factor of schedule='plateau'; None is 0.1")
    ] = None
    plateau_patience: Annotated[
        int | None,
        Field(
            ge=0,
            description="validations without a better watched metric that schedule='plateau' bears; None is 5",
            json_schema_extra={"unit": "validations"},
        ),
    ] = None
    plateau_threshold: Annotated[
        float | None,
        Field(
            ge=0,
            description="how much better, as a share of the best value, counts for schedule='plateau'; None is 1e-4",
            json_schema_extra={"unit": "share of the best value"},
        ),
    ] = None
