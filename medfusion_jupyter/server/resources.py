"""What the machine has: processor, memory, disk, GPUs. Through NVIDIA's own library, so that torch is not loaded."""

from __future__ import annotations

import os
from typing import Any


def gpus() -> list[dict[str, Any]]:
    """Each NVIDIA GPU of the machine; none where there is no driver. Bytes; utilization 0 to 1; degrees Celsius."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be set to for a kernel that is to have one GPU, a value for each that it may have."""
    limited = os.environ.get("CUDA_VISIBLE_DEVICES")
    if limited is not None:
        return [one.strip() for one in limited.split(",") if one.strip() not in ("", "-1")]
    return [str(gpu["index"]) for gpu in gpus()]


def machine() -> dict[str, Any]:
    """Processor, memory and the disk that MEDFUSION_HOME lies on. Bytes; cpu_share since the last look, 0 to 1."""
    import psutil

    from medfusion_jupyter.store.location import home

    memory = psutil.virtual_memory()
    folder = home()
    while not folder.exists():
        folder = folder.parent
    disk = psutil.disk_usage(str(folder))
    return {
        "cpu_count": psutil.cpu_count() or 1,
        "cpu_share": psutil.cpu_percent() / 100,
        "memory_total": memory.total,
        "memory_available": memory.available,
        "disk_total": disk.total,
        "disk_free": disk.free,
        "gpus": gpus(),
    }


def _gpu(pynvml: Any, index: int) -> dict[str, Any]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name = pynvml.nvmlDeviceGetName(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    # not every GPU tells these, a slice of one tells neither
    try:
        utilization = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except pynvml.NVMLError:
        utilization = None
    try:
        temperature = int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    except pynvml.NVMLError:
        temperature = None
    return {
        "index": index,
        "name": name if isinstance(name, str) else name.decode(),
        "memory_total": int(memory.total),
        "memory_used": int(memory.used),
        "utilization": utilization,
        "temperature": temperature,
    }
