"""Where and how a run computes: what changes its speed and memory, and hardly its result."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator


class ComputationSettings(BaseModel):
    """Device, precision and memory."""

    heading: ClassVar[str] = "Computation"

    batch_size: Annotated[
        int,
        Field(
            ge=2,
            le=65_536,
            description="rows a batch, 2 or more",
            json_schema_extra={"unit": "rows", "usual": True},
        ),
    ] = 32
    on_out_of_memory: Annotated[
        Literal["fail", "smaller_batch"],
        Field(
            description="fail: end and say what would help; smaller_batch: do the step anew, and those after it, with half the "
            "batch_size (or the next smaller part) and as many more accumulate_grad_batches: a step has the same rows, and batch "
            "norms see fewer at a time"
        ),
    ] = "fail"
    device: Annotated[str, Field(description="auto, cpu, cuda or cuda:N")] = "auto"
    devices: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="GPUs of this machine, or processes on a CPU (device='cpu'), that share each batch of batch_size rows",
            json_schema_extra={"unit": "devices"},
        ),
    ] = 1
    sync_batchnorm: Annotated[
        bool,
        Field(
            description="with several GPUs: batch norm over the rows of all of them, not of each one's share alone; it needs the "
            "images of every row"
        ),
    ] = False
    precision: Annotated[
        Literal["auto", "fp32", "tf32", "bf16", "fp16"],
        Field(
            description="fp32; tf32: float32 with the tensor cores of a GPU; bf16, fp16: autocast, fp16 with a gradient scaler; "
            "auto: bf16 on a GPU that has it, else fp32"
        ),
    ] = "auto"
    compile: Annotated[
        bool,
        Field(description="torch.compile of the model: a slow first epoch, faster ones after; needs a C++ compiler"),
    ] = False
    channels_last: Annotated[
        bool, Field(description="images and convolutions as NHWC in memory, faster with tensor cores")
    ] = False
    gradient_checkpointing: Annotated[
        bool,
        Field(description="compute the image encoder's features again in the backward pass instead of keeping them"),
    ] = False
    deterministic: Annotated[
        bool, Field(description="only algorithms that give the same bits each time, also on a GPU; slower there")
    ] = False
    seed: Annotated[
        int, Field(ge=0, lt=2**31, description="of the split, the weights, the order and the augmentation")
    ] = 0

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            raise ValueError("give 'auto', 'cpu', 'cuda' or, of several GPUs one by its number from 0, 'cuda:1'")
        return value
