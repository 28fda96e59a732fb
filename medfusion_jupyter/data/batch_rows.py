"""Which rows make a batch, which images of a bag are drawn for it, and which of its rows a process takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGES_AT_ONCE = 1024
"""Bags are predicted for in batches of so many images at most, or of one bag where that has more."""

BAG_STREAM = 2
"""Tells the draws from bags from those of the order and of mixing, which have the same seed and epoch."""


def chances_of_balanced(targets: NDArray[Any] | None, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """How likely each row is drawn where all classes are drawn as often, `(R,)`."""
    assert targets is not None
    of_row = targets[rows]
    chances = 1 / np.bincount(of_row)[of_row]
    normed: NDArray[np.float64] = chances / chances.sum()
    return normed


def limited(images: NDArray[np.int64], rows: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """The rows in batches of `batch_size` at most, and of IMAGES_AT_ONCE images where one row has not more."""
    starts, held = [0], 0
    for place, count in enumerate(images.tolist()):
        if place > starts[-1] and (place - starts[-1] == batch_size or held + count > IMAGES_AT_ONCE):
            starts.append(place)
            held = 0
        held += count
    return [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


def drawn_from_bags(slots: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`(B, N) -> (B, min(N, most))`: of each bag at most so many of its images, drawn without replacement, in their order."""
    if slots.shape[1] <= most:
        return slots
    chances = rng.random(slots.shape)
    chances[slots < 0] = 2
    chosen = np.sort(np.argsort(chances, axis=1, kind="stable")[:, :most], axis=1)
    drawn: NDArray[np.int64] = np.take_along_axis(slots, chosen, axis=1)
    return drawn


def rows_of_share(count: int, number: int, shares: int) -> slice:
    """Which of a batch's `count` rows the process `number` of so many takes: shares that differ by one row at most.

    A batch that has not two rows for each is taken whole by all of them: batch norm cannot learn from one row.
    """
    if count < 2 * shares:
        return slice(0, count)
    return slice(count * number // shares, count * (number + 1) // shares)
