"""Images decoded once: one array on the disk, keyed by the files and the settings, read from RAM or as a memory map."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.cache_memory import cache_memory
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.image_files import UNREADABLE, decode, kind_of
from medfusion_jupyter.data.stored_arrays import alone, read_array, write_array

FORMAT = 2
STATISTICS_FROM = 2000
"""Mean and standard deviation are taken from so many images at most; their error is then far below a percent."""
DECODED_AHEAD = 512
"""So many decoded images wait at most to be written."""


@dataclass(frozen=True, eq=False)
class PixelCache:
    """Decoded images.

    pixels: `(S, C, size, size)` uint8 or uint16; slots: for each of the paths that were asked for its index in `pixels`, -1
    where there is no readable image. key: tells these pixels from others.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    slots: NDArray[np.int64]
    key: str

    @classmethod
    def open(
        cls, paths: Sequence[Path | None], *, size: int, channels: int | None = None, cache_dir: Path
    ) -> PixelCache:
        """The images of `paths` at `size` pixels a side, decoded now or taken from an earlier time.

        channels: 1 or 3; None takes 3 where any image has colours. A file counts as the same while its size and its times
        of change stay. Unreadable files are warned about by number, and count as absent. What is larger than
        `cache_memory()` is mapped from the disk. Raises CohortError where the cache cannot be written.
        """
        files = list(dict.fromkeys(path for path in paths if path is not None))
        in_memory = cache_memory()
        key = hashlib.sha256(json.dumps([FORMAT, size, channels, [_stat(path) for path in files]]).encode()).hexdigest()
        array, card = cache_dir / f"{key[:40]}.npy", cache_dir / f"{key[:40]}.json"
        found = read_array(array, card, in_memory)
        if found is None:
            with alone(card.with_suffix(".lock")):
                # another process may have made it while this one waited
                found = read_array(array, card, in_memory)
                if found is None:
                    _make(files, array, card, size, channels)
                    found = read_array(array, card, in_memory)
        if found is None:
            raise CohortError(
                f"The decoded images in {array} do not read back as they were written: the disk or its file system is at "
                "fault. Set MEDFUSION_HOME to a folder on another disk."
            )
        pixels, unreadable = found[0], found[1]["unreadable"]
        if unreadable:
            warnings.warn(
                f"{len(unreadable)} of {len(files)} image files cannot be decoded; their rows count as without image.",
                stacklevel=2,
            )
        slot_of: dict[Path | None, int] = {path: slot for slot, path in enumerate(files)}
        slot_of |= {None: -1} | {files[slot]: -1 for slot in unreadable}
        return cls(pixels, np.asarray([slot_of[path] for path in paths], dtype=np.int64), key)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.pixels.shape[1])

    @property
    def size(self) -> int:
        """Pixels a side."""
        return int(self.pixels.shape[2])

    @property
    def max_value(self) -> int:
        """The largest value that a pixel can have: 255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)

    def statistics(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel `(C,)` over the images in `slots`, in units of the full range."""
        there = np.unique(slots[slots >= 0])
        chosen = there[np.linspace(0, len(there) - 1, min(len(there), STATISTICS_FROM)).astype(int)]
        total = np.zeros(self.channels)
        squares = np.zeros(self.channels)
        for start in range(0, len(chosen), 64):
            part = self.pixels[chosen[start : start + 64]].astype(np.float64) / self.max_value
            total += part.sum(axis=(0, 2, 3))
            squares += (part**2).sum(axis=(0, 2, 3))
        count = len(chosen) * self.size**2
        mean = total / count
        # images of one colour have no spread: they are then centred only
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return mean, np.where(std < 1e-6, 1.0, std)


def _stat(path: Path) -> list[Any]:
    """What tells that a file is the same. The time of change of its entry too: a copy can keep the one of its content."""
    try:
        found = path.stat()
    except OSError:
        return [str(path), None]
    return [str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _make(files: Sequence[Path], array: Path, card: Path, size: int, channels: int | None) -> None:
    """Decode all files in threads (Pillow decodes without Python's lock) and put array and card in place, the card last."""
    with ThreadPoolExecutor() as pool:
        kinds = [kind for kind in pool.map(_kind, files) if kind is not None]
        if channels is None:
            channels = 3 if any(colours for colours, _ in kinds) else 1
        deep = any(deep for _, deep in kinds)
        blank = np.zeros((channels, size, size), np.uint16 if deep else np.uint8)
        unreadable: list[int] = []

        def decoded() -> Iterator[NDArray[Any]]:
            found = _in_order(pool, files, size=size, channels=blank.shape[0], deep=deep)
            for slot, pixels in enumerate(found if files else [blank]):
                if pixels is None:
                    unreadable.append(slot)
                yield blank if pixels is None else pixels

        try:
            # what is unreadable is known when all are written
            write_array(array, card, (max(1, len(files)), *blank.shape), blank.dtype, decoded(), unreadable=unreadable)
        except OSError as error:
            raise CohortError(
                f"The decoded images ({blank.nbytes * len(files) / 1e6:.0f} MB) could not be written to {array.parent}: "
                f"{error}. Free some space, or set MEDFUSION_HOME to a larger disk."
            ) from error


def _in_order(pool: ThreadPoolExecutor, files: Sequence[Path], **how: Any) -> Iterator[NDArray[Any] | None]:
    """Each file decoded, None where it cannot be."""
    for first in range(0, len(files), DECODED_AHEAD):
        yield from pool.map(partial(_decode, **how), files[first : first + DECODED_AHEAD])


def _decode(path: Path, **how: Any) -> NDArray[Any] | None:
    try:
        return decode(path, **how)
    except UNREADABLE:
        return None


def _kind(path: Path) -> tuple[bool, bool] | None:
    try:
        return kind_of(path)
    except UNREADABLE:
        return None
