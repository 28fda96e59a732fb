"""Whether a run goes on with the images that it was started with.

What a run learns from is decoded before its first step: files that change meanwhile change nothing. One that goes on later, a
fork and the next fold of a cross-validation decode what the files hold then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data import PixelCache
from medfusion_jupyter.store.durable_files import write_json

FILE = "images.json"


def changed_rows(folders: Sequence[Path], images: PixelCache) -> list[int]:
    """The rows whose images are others than when the first job of a family began, whose images are remembered.

    folders: of the job, then of its parent, and so on. Images that were decoded to another shape cannot be compared; these of
    the job itself are then remembered.
    """
    shape, now = list(images.pixels.shape[1:]), _by_row(images)
    for folder in folders:
        before = _remembered(folder)
        if before is not None and before["shape"] == shape and len(before["rows"]) == len(now):
            changed: list[int] = np.flatnonzero(now != np.asarray(before["rows"])).tolist()
            return changed
    first = folders[0] if any(_remembered(folder) for folder in folders) else folders[-1]
    write_json(first / FILE, {"shape": shape, "rows": now.tolist()})
    return []


def _remembered(folder: Path) -> dict[str, Any] | None:
    try:
        before: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return before


def _by_row(images: PixelCache) -> NDArray[np.int64]:
    """`(R,)`: a checksum of the images of each row, of one view or several, alone or in bags, whose order does not count."""
    slots = np.atleast_2d(images.slots)
    slots = slots.reshape(*slots.shape[:2], -1)
    checksums = np.where(slots >= 0, images.checksums.astype(np.int64)[slots] + 1, 0)
    # weighed, so that views that change places are others
    weights = np.arange(1, len(slots) + 1)[:, None, None]
    summed: NDArray[np.int64] = (checksums * weights).sum(axis=(0, 2))
    return summed
