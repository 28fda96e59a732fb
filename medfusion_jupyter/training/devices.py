"""Where a run computes and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import psutil
import torch

from medfusion_jupyter.training.config import ConfigError


def choose_device(wanted: str) -> str:
    """`auto` is the GPU where there is one. Raises ConfigError for a device that is not there."""
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ConfigError(f"device={wanted!r} is not a device: use auto, cpu, cuda or cuda:N.") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ConfigError(f"device={wanted!r}: this machine shows {count} GPUs. Use device='auto' or 'cpu'.")
        return f"cuda:{device.index or 0}"
    if device.type != "cpu":
        raise ConfigError(f"device={wanted!r} is not supported: use auto, cpu, cuda or cuda:N.")
    return "cpu"


def autocast(device: str, precision: Literal["auto", "fp32", "bf16"]) -> AbstractContextManager[Any]:
    """bfloat16 autocast where asked for, or by `auto` on a GPU that computes in it."""
    on_gpu = device.startswith("cuda")
    wanted = precision == "bf16" or (precision == "auto" and on_gpu and torch.cuda.is_bf16_supported())
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16) if wanted else nullcontext()


def memory_in_use(device: str) -> int:
    """Bytes: the peak allocated on the GPU, or the resident memory of this process on a CPU."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
