"""Images decoded once: one array on the disk, keyed by the files and the settings, read from RAM or as a memory map."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.image_files import UNREADABLE, decode, kind_of

FORMAT = 1
STATISTICS_FROM = 2000
"""Mean and standard deviation are taken from so many images at most; their error is then far below a percent."""


@dataclass(frozen=True, eq=False)
class PixelCache:
    """Decoded images.

    pixels: `(S, C, size, size)` uint8 or uint16; slots: for each of the paths that were asked for its index in `pixels`, -1
    where there is no readable image.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    slots: NDArray[np.int64]

    @classmethod
    def open(
        cls, paths: Sequence[Path | None], *, size: int, channels: int | None = None, cache_dir: Path
    ) -> PixelCache:
        """The images of `paths` at `size` pixels a side, decoded now or taken from an earlier time.

        channels: 1 or 3; None takes 3 where any image has colours. A file counts as the same while its size and its time
        of change stay. Unreadable files are warned about by number, and count as absent.
        """
        files = list(dict.fromkeys(path for path in paths if path is not None))
        stats = [_stat(path) for path in files]
        key = hashlib.sha256(json.dumps([FORMAT, size, channels, stats]).encode()).hexdigest()[:40]
        array, card = cache_dir / f"{key}.npy", cache_dir / f"{key}.json"
        if not card.exists():
            _make(files, array, card, size, channels)
        readable: list[int] = json.loads(card.read_text(encoding="utf-8"))["slots"]
        if -1 in readable:
            warnings.warn(
                f"{readable.count(-1)} of {len(files)} image files cannot be decoded; their rows count as without image.",
                stacklevel=2,
            )
        slot_of = dict(zip(files, readable, strict=True))
        slots = np.asarray([-1 if path is None else slot_of[path] for path in paths], dtype=np.int64)
        in_memory = array.stat().st_size < psutil.virtual_memory().available / 4
        return cls(np.load(array, mmap_mode=None if in_memory else "r"), slots)

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
    try:
        found = path.stat()
    except OSError:
        return [str(path), None]
    return [str(path), found.st_size, found.st_mtime_ns]


def _make(files: Sequence[Path], array: Path, card: Path, size: int, channels: int | None) -> None:
    """Decode all files in threads (Pillow decodes without Python's lock) and put array and card in place, the card last."""
    array.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        kinds = list(pool.map(_kind, files))
        if channels is None:
            channels = 3 if any(kind is not None and kind[0] for kind in kinds) else 1
        deep = any(kind is not None and kind[1] for kind in kinds)
        shape = (max(1, len(files)), channels, size, size)
        handle, temporary = tempfile.mkstemp(dir=array.parent, suffix=".part")
        os.close(handle)
        try:
            pixels = open_memmap(temporary, mode="w+", dtype=np.uint16 if deep else np.uint8, shape=shape)
            good = list(
                pool.map(partial(_fill, pixels, size=size, channels=channels, deep=deep), files, range(len(files)))
            )
            pixels.flush()
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, array)
        except OSError as error:
            raise CohortError(
                f"The decoded images ({np.prod(shape) * (1 + deep) / 1e6:.0f} MB) could not be written to {array.parent}: "
                f"{error}. Free some space, or set MEDFUSION_HOME to a larger disk."
            ) from error
        finally:
            Path(temporary).unlink(missing_ok=True)
    part = card.with_suffix(".json.part")
    part.write_text(json.dumps({"slots": [slot if ok else -1 for slot, ok in enumerate(good)]}), encoding="utf-8")
    os.replace(part, card)


def _fill(pixels: NDArray[Any], path: Path, slot: int, *, size: int, channels: int, deep: bool) -> bool:
    try:
        pixels[slot] = decode(path, size=size, channels=channels, deep=deep)
    except UNREADABLE:
        return False
    return True


def _kind(path: Path) -> tuple[bool, bool] | None:
    try:
        return kind_of(path)
    except UNREADABLE:
        return None
