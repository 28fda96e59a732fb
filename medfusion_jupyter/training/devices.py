"""Where a run computes and in which precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

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


def choose_kind(wanted: str, devices: int) -> str:
    """`cuda` or `cpu`, for several devices. Raises ConfigError where the machine has not so many."""
    if wanted == "cpu":
        return "cpu"
    count = torch.cuda.device_count()
    if count < devices:
        shown = "1 GPU" if count == 1 else f"{count} GPUs"
        raise ConfigError(
            f"devices={devices}: this machine shows {shown}. Lower devices (a job that was begun with more goes on by "
            f"job.fork(devices={max(1, count)})), or set device='cpu' to share each batch among {devices} processes of the CPU."
        )
    return "cuda"


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Autocast to bfloat16 or float16 where asked for, or to bfloat16 by `auto` on a GPU that does not only imitate it."""
    kind = device.split(":")[0]
    if precision == "fp16":
        return torch.autocast(kind, dtype=torch.float16)
    wanted = precision == "bf16" or (precision == "auto" and kind == "cuda" and torch.cuda.is_bf16_supported(False))
    return torch.autocast(kind, dtype=torch.bfloat16) if wanted else nullcontext()


def gradient_scaler(device: str, precision: str) -> torch.amp.GradScaler | None:
    """What keeps the gradients of fp16 from vanishing; None for other precisions. Micikevicius et al., ICLR 2018."""
    return torch.amp.GradScaler(device.split(":")[0]) if precision == "fp16" else None


@contextmanager
def computing(device: str, *, precision: str, deterministic: bool) -> Iterator[None]:
    """torch's switches of float32 precision and determinism, which are of the whole process, as long as a run goes on.

    `device` is this thread's current one meanwhile: the one whose generator dropout draws from, and a checkpoint holds. Raises
    ConfigError for tf32 on a CPU.
    """
    if precision == "tf32" and not device.startswith("cuda"):
        raise ConfigError("precision='tf32' is of GPUs; this run computes on the CPU. Use 'fp32' or 'auto'.")
    matmul = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if device.startswith("cuda"):
        # read once, at the first product on a GPU: a later run of this process may have to be deterministic
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        if precision in ("fp32", "tf32"):
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
            torch.backends.cudnn.allow_tf32 = precision == "tf32"
        if deterministic:
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False
        with torch.cuda.device(device) if torch.cuda.is_available() and device.startswith("cuda") else nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.use_deterministic_algorithms(was_deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


NO_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What torch's allocator of the CPU says, and CUDA and its libraries where they ask the device themselves."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether something failed because a device, or the machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    )


def memory_in_use(device: str) -> int:
    """Bytes: the peak allocated on the GPU, or the resident memory of this process on a CPU."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
