"""Text burned into an image: places where bright and dark alternate as sharply and as often as in letters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 70
"""A change of grey between neighbours (of 255) that tissue rarely shows and the edge of a letter does."""

ROWS, COLUMNS = 8, 24
"""A place is so many pixels high and wide: two or three letters."""

STROKES = 2.0
"""So many letter strokes (an edge up and an edge down) must cross each row of a place on average: a wire is one."""


def text_tiles(pixels: NDArray[np.uint8]) -> int:
    """Number of places of an image `(H, W)` uint8 that look like text."""
    step = np.diff(pixels.astype(np.int16), axis=1)
    up, down = _sums(step > STEP), _sums(step < -STEP)
    return int((np.minimum(up, down) >= STROKES * ROWS).sum())


def _sums(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count in each place, the places overlapping by half."""
    total = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int64)
    total[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    top = np.arange(0, mask.shape[0] - ROWS + 1, ROWS // 2)[:, None]
    left = np.arange(0, mask.shape[1] - COLUMNS + 1, COLUMNS // 2)[None]
    count: NDArray[np.int64] = (
        total[top + ROWS, left + COLUMNS] - total[top, left + COLUMNS] - total[top + ROWS, left] + total[top, left]
    )
    return count
