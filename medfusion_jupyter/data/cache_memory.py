"""How much of the pixel cache is held in memory; what is larger is mapped from the disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil

from medfusion_jupyter.data.errors import CohortError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
SHARE = 4
CGROUP = Path("/sys/fs/cgroup")


def cache_memory() -> int:
    """MEDFUSION_CACHE_MEMORY in bytes, by default a quarter of the memory that is free when it is asked for.

    Written as bytes or as a number with KB, MB, GB or TB (powers of 1000), such as 8GB; 0 maps every cache. Raises CohortError
    for anything else.
    """
    given = os.environ.get("MEDFUSION_CACHE_MEMORY", "").strip()
    if not given:
        return _free_memory() // SHARE
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?b)?", given.lower())
    if match is None:
        raise CohortError(
            f"MEDFUSION_CACHE_MEMORY is {given!r}. Give a number of bytes, or a number with KB, MB, GB or TB such as 8GB; 0 "
            "reads decoded images from the disk as they are needed."
        )
    return int(float(match[1]) * UNITS[match[2] or ""])


def _free_memory() -> int:
    """What the machine has, or the container where that is less: its limit ends the kernel without a word."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return min(free, max(0, int(limit) - int(used)))
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return free
