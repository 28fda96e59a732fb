"""How long a run goes on, and how it is watched."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field, field_validator

from medfusion_jupyter.settings.watched import METRICS_OF, best_of


class LimitSettings(BaseModel):
    """Epochs, time and patience, and how much is validated how often."""

    heading: ClassVar[str] = "Length and validation"

    epochs: Annotated[
        int,
        Field(
            ge=1,
            le=100_000,
            description="passes over the training part",
            json_schema_extra={"unit": "epochs", "usual": True},
        ),
    ] = 20
    watch: Annotated[
        str,
        Field(
            description="metric that chooses the best epoch, such as val/auroc or val/loss; auto is the first of the target's: "
            "val/auroc of classes and labels, val/qwk of grades, val/mae of a number, val/c_index of survival; of several "
            "targets that of the first with its name, as val/death_c_index"
        ),
    ] = "auto"
    patience: Annotated[
        int | None,
        Field(
            ge=1,
            le=100_000,
            description="epochs without a better watched metric before it ends early; None never",
            json_schema_extra={"unit": "epochs"},
        ),
    ] = 10
    min_delta: Annotated[
        float,
        Field(
            ge=0,
            description="how much better the watched metric must be for patience to start anew",
            json_schema_extra={"unit": "as the watched metric"},
        ),
    ] = 0.0
    max_time: Annotated[
        float | None,
        Field(
            gt=0,
            description="minutes of training, or 'HH:MM:SS', pauses not counted; the epoch under way is then cut short, "
            "validated and kept",
            json_schema_extra={"unit": "min"},
        ),
    ] = None
    check_val_every_n_epoch: Annotated[
        int,
        Field(
            ge=1,
            description="validate and save after every so many epochs, and after the last",
            json_schema_extra={"unit": "epochs"},
        ),
    ] = 1
    limit_val_batches: Annotated[
        float | None,
        Field(
            gt=0,
            description="validation batches (of 4 batch_size rows) at most, or below 1 a share of them; the same rows each time, "
            "with their share of every class; None is all",
            json_schema_extra={"unit": "batches, or share of them"},
        ),
    ] = None

    val_check_interval: Annotated[
        float | None,
        Field(
            gt=0,
            description="validate within an epoch too, after every so many steps, or below 1 after each such share of it; the "
            "best epoch, patience and plateau go by the validation after the epoch. None: after the epoch alone",
            json_schema_extra={"unit": "steps, or share of an epoch"},
        ),
    ] = None

    @field_validator("watch")
    @classmethod
    def _watchable(cls, value: str) -> str:
        if value != "auto" and best_of(value) is None:
            known = dict.fromkeys(f"val/{name}" for names in METRICS_OF.values() for name in names)
            raise ValueError(
                f"watch auto, val/loss, or one of {', '.join(known)}; of several targets with its name, as val/death_c_index"
            )
        return value

    @field_validator("max_time", mode="before")
    @classmethod
    def _minutes(cls, value: Any) -> Any:
        if not isinstance(value, str) or ":" not in value:
            return value
        parts = value.split(":")
        if len(parts) != 3 or not all(part.isdigit() for part in parts) or int(parts[1]) > 59 or int(parts[2]) > 59:
            raise ValueError("write hours, minutes and seconds as '01:30:00', or give minutes as a number")
        hours, minutes, seconds = map(int, parts)
        return 60 * hours + minutes + seconds / 60

    @field_validator("limit_val_batches", "val_check_interval")
    @classmethod
    def _count_or_share(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("give a whole number, or a share below 1")
        return value
