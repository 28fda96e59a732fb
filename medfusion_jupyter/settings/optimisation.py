"""How the weights are changed by their gradients, and at which rate."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

MOST_BATCHES_A_STEP = 4096


class OptimisationSettings(BaseModel):
    """The optimiser, its rates, and what is done to the gradients before it."""

    heading: ClassVar[str] = "Optimiser"

    optimizer: Annotated[
        Literal["adamw", "adam", "sgd", "nadam", "radam", "adafactor"],
        Field(description="optimiser of torch.optim; fused where torch has it so"),
    ] = "adamw"
    lr: Annotated[
        float,
        Field(gt=0, le=10, description="peak learning rate, above 0 and at most 10", json_schema_extra={"usual": True}),
    ] = 3e-4
    encoder_lr: Annotated[
        float | None,
        Field(
            gt=0, le=10, description="peak learning rate of both encoders; None is lr. The `lr` recorded is the other's"
        ),
    ] = None
    weight_decay: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="weight decay, which biases, norms and tokens have none of: decoupled, but an L2 penalty in adam and sgd",
        ),
    ] = 0.01
    momentum: Annotated[
        float | None, Field(ge=0, lt=1, description="momentum of optimizer='sgd', 0 to below 1; None is 0.9")
    ] = None
    nesterov: Annotated[bool | None, Field(description="Nesterov's momentum in optimizer='sgd'; None is False")] = None
    accumulate_grad_batches: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_BATCHES_A_STEP,
            description="batches whose gradients make one step, exactly as one batch of all their rows",
            json_schema_extra={"unit": "batches"},
        ),
    ] = 1
    gradient_clip_val: Annotated[
        float | None,
        Field(gt=0, description="largest norm of all gradients together; longer ones are scaled down to it"),
    ] = None
