"""Images that are nearly the same: by the signs of their low frequencies, then by the correlation of their thumbnails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

THUMB = 32
"""Pixels a side of the thumbnail that the hash is made of."""

FREQUENCIES = 16
BITS = FREQUENCIES**2 - 1


def _cosines(size: int) -> NDArray[np.float32]:
    """The matrix of the DCT-II."""
    k, x = np.mgrid[0:FREQUENCIES, 0:size]
    cosines: NDArray[np.float32] = np.cos(np.pi * k * (2 * x + 1) / (2 * size)).astype(np.float32)
    return cosines


_COSINES = _cosines(THUMB)


def hash_of(thumb: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(THUMB, THUMB) -> (BITS,)` of -1 and 1: whether each low frequency is above the median, the mean left out.

    Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, there with 8 × 8 frequencies: medical
    images are all alike, and need more.
    """
    spectrum = (_COSINES @ thumb @ _COSINES.T).ravel()[1:]
    return np.where(spectrum > np.median(spectrum), 1, -1).astype(np.float32)


def near_pairs(
    hashes: NDArray[np.float32], thumbs: NDArray[np.float32], *, bits: int, correlation: float
) -> list[tuple[int, int]]:
    """Pairs i < j that differ in at most `bits` of the hash `(N, BITS)` and whose thumbnails correlate at least so much."""
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(hashes), 1000):
        different = (BITS - hashes[start : start + 1000] @ hashes.T) / 2
        for i, j in np.argwhere(different <= bits):
            one, other = start + int(i), int(j)
            if one < other and np.corrcoef(thumbs[one].ravel(), thumbs[other].ravel())[0, 1] >= correlation:
                pairs.append((one, other))
    return pairs
