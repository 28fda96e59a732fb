"""Images decoded once: one array on the disk, keyed by the files and the settings, read from RAM or as a memory map."""

from __future__ import annotations

import hashlib
import json
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.cache_memory import cache_memory
from medfusion_jupyter.data.errors import CohortError, rows_in_words
from medfusion_jupyter.data.image_files import (
    UNREADABLE,
    Window,
    channels_of_volume,
    decode,
    is_volume,
    kind_of,
    planes_of,
    what_is_wrong,
    without_names,
)
from medfusion_jupyter.data.image_steps import AS_IT_IS, box_of
from medfusion_jupyter.data.stored_arrays import alone, read_array, write_array
from medfusion_jupyter.data.volumes import decode_volume
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing

FORMAT = 6
STATISTICS_FROM = 2000
"""Mean and standard deviation are taken from so many images at most; their error is then far below a percent."""
DECODED_BYTES = 32 * 2**20
"""Decoded images of so many bytes at most wait to be written."""
FILES_A_TASK = 16
"""A thread decodes so many files before it asks for more: threads that meet often wait for Python's lock."""
SPACING_RANGE = 1.25
"""Volumes whose spacing along an axis differs by more than this factor are warned about where they are not resampled in mm."""

Size = int | tuple[int, int, int]
Spacing = float | tuple[float, float, float] | None
One = TypeVar("One")


@dataclass(frozen=True, eq=False)
class PixelCache:
    """Decoded images, or volumes.

    pixels: `(S, C, size, size)` uint8 or uint16, `(S, C, D, H, W)` uint16 for volumes; slots: of the shape of the paths that were
    asked for, for each its index in `pixels`, -1 where there is no readable image. key: tells these pixels from others.
    checksums: `(S,)`, of each image; unreadable: how many files cannot be decoded, in which rows and why, in words without names.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    slots: NDArray[np.int64]
    key: str
    checksums: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    unreadable: str = ""

    @classmethod
    def open(
        cls,
        paths: Sequence[Path | None] | NDArray[np.object_],
        *,
        size: Size,
        channels: int | None = None,
        spacing: Spacing = None,
        window: Window = None,
        preprocessing: ImagePreprocessing = AS_IT_IS,
        of_images: Sequence[Path | None] | None = None,
        cache_dir: Path,
    ) -> PixelCache:
        """The images of `paths` at `size` pixels a side, decoded now or taken from an earlier time.

        size: of volumes (D, H, W); spacing: mm to which volumes are resampled before they are cut or filled to that size, None
        stretches them. channels: None takes those of the files, 3 where grey and coloured ones are together. window: what is
        black and white of a CT. preprocessing: its steps that change pixels. of_images: where `paths` are masks, the image of
        each, which says where it is cropped; the window is then that of these images. A file counts as the same while its size
        and its times of change stay. Unreadable files are warned about by row, and count as absent. What is larger than
        `cache_memory()` is mapped from the disk. Raises CohortError where images have different numbers of channels beside 1
        and 3, or another than asked for, and where the cache cannot be written.
        """
        asked = np.asarray(paths, dtype=object)
        flat: list[Path | None] = asked.ravel().tolist()
        cropped_as = of_images if of_images is not None and preprocessing.crop == "foreground" else [None] * len(flat)
        # one file may be the mask of two images, which are not cropped alike
        places = [None if path is None else File(path, image) for path, image in zip(flat, cropped_as, strict=True)]
        files = list(dict.fromkeys(file for file in places if file is not None))
        how = How(size, channels, spacing, window, preprocessing, masks=of_images is not None)
        in_memory = cache_memory()
        steps = preprocessing.model_dump(mode="json", include={"crop", "clahe", "resize"})
        seen = [[look_of(path) for path in file if path is not None] for file in files]
        described = json.dumps([FORMAT, size, channels, spacing, window, steps, how.masks, seen])
        key = hashlib.sha256(described.encode()).hexdigest()
        array, card = cache_dir / f"{key[:40]}.npy", cache_dir / f"{key[:40]}.json"
        found = read_array(array, card, in_memory)
        if found is None:
            with alone(card.with_suffix(".lock")):
                # another process may have made it while this one waited
                found = read_array(array, card, in_memory)
                if found is None:
                    _make(files, array, card, how)
                    found = read_array(array, card, in_memory)
        if found is None:
            raise CohortError(
                f"The decoded images in {array} do not read back as they were written: the disk or its file system is at "
                "fault. Set MEDFUSION_HOME to a folder on another disk."
            )
        pixels, about = found
        unreadable: list[int] = about["unreadable"]
        slot_of: dict[File | None, int] = {file: slot for slot, file in enumerate(files)}
        slot_of |= {None: -1} | {files[slot]: -1 for slot in unreadable}
        slots = np.asarray([slot_of[file] for file in places], dtype=np.int64).reshape(asked.shape)
        said = ""
        if unreadable:
            lost = (slots < 0) & (asked != np.asarray(None))
            rows = np.unique(np.nonzero(lost)[1 if asked.ndim > 1 else 0]).tolist()
            said = (
                f"{len(unreadable)} of {len(files)} {'mask' if how.masks else 'image'} files cannot be decoded and count as "
                f"absent ({rows_in_words(rows)}). Of the first it is said: {about['why'][0]}"
            )
            warnings.warn(said, stacklevel=2)
        if about["spacings"] and spacing is None:
            _warn_of_mixed_spacing(about["spacings"])
        return cls(pixels, slots, key, np.asarray(about["checksums"], dtype=np.uint32), said)

    @property
    def channels(self) -> int:
        """1 is grey, 3 is coloured."""
        return int(self.pixels.shape[1])

    @property
    def max_value(self) -> int:
        """The largest value that a pixel can have: 255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)

    def marked(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`(B, C, H, W)`: of masks, whether a pixel was marked in those rows; nothing is where a row has no mask."""
        slots = self.slots[rows]
        marked: NDArray[np.bool_] = (self.pixels[np.maximum(slots, 0)] > 0) & (slots >= 0)[:, None, None, None]
        return marked

    def statistics(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel `(C,)` over the images in `slots`, in units of the full range."""
        there = np.unique(slots[slots >= 0])
        chosen = there[np.linspace(0, len(there) - 1, min(len(there), STATISTICS_FROM)).astype(int)]
        total = np.zeros(self.channels)
        squares = np.zeros(self.channels)
        for start in range(0, len(chosen), 64):
            part = self.pixels[chosen[start : start + 64]].astype(np.float64) / self.max_value
            places = (0, *range(2, part.ndim))
            total += part.sum(axis=places)
            squares += (part**2).sum(axis=places)
        count = len(chosen) * int(np.prod(self.pixels.shape[2:]))
        mean = total / count
        # images of one colour have no spread: they are then centred only
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return mean, np.where(std < 1e-6, 1.0, std)


def look_of(path: Path) -> list[Any]:
    """What tells that a file is the same, without its being read. The time of change of its entry too: a copy can keep the one
    of its content.
    """
    try:
        found = path.stat()
    except OSError:
        return [str(path), None]
    return [str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns]


class File(NamedTuple):
    """A file to decode. image: of a mask, the image whose foreground it is cropped to."""

    path: Path
    image: Path | None


class How(NamedTuple):
    """How files are decoded: as of `PixelCache.open`. masks: whether they are masks of images."""

    size: Size
    channels: int | None
    spacing: Spacing
    window: Window
    preprocessing: ImagePreprocessing
    masks: bool


class Decoded(NamedTuple):
    """pixels: None where the file cannot be decoded, `why` then says why; spacing: that of a volume, in mm; checksum: of the
    pixels."""

    pixels: NDArray[Any] | None
    why: str = ""
    spacing: tuple[float, ...] | None = None
    checksum: int = 0


def _make(files: Sequence[File], array: Path, card: Path, how: How) -> None:
    """Decode all files in threads (Pillow decodes without Python's lock) and put array and card in place, the card last."""
    with ThreadPoolExecutor() as pool:
        decode_one: Callable[[File], Decoded]
        if isinstance(how.size, int):
            kinds = [kind for kind in _in_order(pool, files, _kind, ahead=len(files)) if kind is not None]
            channels = _channels_of({channels for channels, _ in kinds}, how.channels)
            deep = any(deep for _, deep in kinds)
            blank = np.zeros((channels, how.size, how.size), np.uint16 if deep else np.uint8)
            decode_one = partial(_decode, how=how, channels=channels, deep=deep)
        else:
            counts = {
                count for count in _in_order(pool, files, _channels_of_volume, ahead=len(files)) if count is not None
            }
            channels = _channels_of(counts, how.channels, colours=False)
            blank = np.zeros((channels, *how.size), np.uint16)
            decode_one = partial(_decode_volume, how=how, channels=channels)
        unreadable: list[int] = []
        checksums: list[int] = []
        reasons: list[str] = []
        spacings: list[list[float]] = []

        def decoded() -> Iterator[NDArray[Any]]:
            found = _in_order(pool, files, decode_one, ahead=max(4, DECODED_BYTES // blank.nbytes))
            for slot, one in enumerate(found if files else [Decoded(blank)]):
                checksums.append(one.checksum)
                if one.pixels is None:
                    unreadable.append(slot)
                    reasons[:] = reasons or [one.why]
                elif one.spacing is not None:
                    seen = np.asarray([*spacings, one.spacing])
                    spacings[:] = [
                        seen.min(axis=0).tolist(),
                        seen.max(axis=0).tolist(),
                    ]  # the least and the most, by axis
                yield blank if one.pixels is None else one.pixels

        try:
            # all of this is known when everything is written
            about: dict[str, Any] = {
                "unreadable": unreadable,
                "why": reasons,
                "spacings": spacings,
                "checksums": checksums,
            }
            write_array(array, card, (max(1, len(files)), *blank.shape), blank.dtype, decoded(), **about)
        except OSError as error:
            raise CohortError(
                f"The decoded images ({blank.nbytes * len(files) / 1e6:.0f} MB) could not be written to {array.parent}: "
                f"{error}. Free some space, or set MEDFUSION_HOME to a larger disk."
            ) from error


def _channels_of(seen: set[int], wanted: int | None, *, colours: bool = True) -> int:
    """How many channels images are decoded to: where 3 are `colours`, grey and coloured ones go together, all others must have as
    many."""
    channels = wanted or max(seen, default=1)
    if (colours and seen <= {1, 3} and channels in (1, 3)) or seen <= {channels}:
        return channels
    found = " and ".join(map(str, sorted(seen)))
    need = "all must have the same number" if wanted is None else f"the model takes {wanted}"
    raise CohortError(
        f"There are images of {found} channel{'' if seen == {1} else 's'}; {need}. Write all with as many, or leave the others "
        "out."
    )


def _in_order(
    pool: ThreadPoolExecutor, files: Sequence[File], of_file: Callable[[File], One], ahead: int
) -> Iterator[One]:
    """`of_file` of each file, in their order. ahead: so many results at most wait to be taken."""
    # enough tasks for every thread, where the files are few or large
    at_once = max(1, min(FILES_A_TASK, len(files) // 64, ahead // 64))
    tasks = [files[first : first + at_once] for first in range(0, len(files), at_once)]
    tasks_ahead = max(1, ahead // at_once)
    for first in range(0, len(tasks), tasks_ahead):
        for done in pool.map(lambda some: [of_file(file) for file in some], tasks[first : first + tasks_ahead]):
            yield from done


def _decode(file: File, how: How, channels: int, deep: bool) -> Decoded:
    assert isinstance(how.size, int)
    try:
        steps = how.preprocessing
        if file.image is not None:
            box = box_of(planes_of(file.image, how.window), steps.crop)
            steps = steps.model_copy(update={"crop": box})
        window = None if how.masks else how.window
        pixels = decode(file.path, size=how.size, channels=channels, deep=deep, window=window, preprocessing=steps)
        return Decoded(pixels, checksum=zlib.crc32(np.ascontiguousarray(pixels).data))
    except UNREADABLE as error:
        return _undecoded(file, error)


def _decode_volume(file: File, how: How, channels: int) -> Decoded:
    assert not isinstance(how.size, int)
    try:
        steps = how.preprocessing
        pixels, spacing = decode_volume(
            file.path, size=how.size, channels=channels, spacing=how.spacing, window=how.window, preprocessing=steps
        )
        return Decoded(pixels, spacing=spacing, checksum=zlib.crc32(np.ascontiguousarray(pixels).data))
    except UNREADABLE as error:
        return _undecoded(file, error)


def _undecoded(file: File, error: Exception) -> Decoded:
    return Decoded(None, without_names(what_is_wrong(file.path, error), *(path for path in file if path is not None)))


def _channels_of_volume(file: File) -> int | None:
    try:
        return channels_of_volume(file.path) if is_volume(file.path) else None
    except UNREADABLE:
        return None


def _kind(file: File) -> tuple[int, bool] | None:
    try:
        return kind_of(file.path)
    except UNREADABLE:
        return None


def _warn_of_mixed_spacing(spacings: list[list[float]]) -> None:
    lowest, highest = spacings
    if any(high > SPACING_RANGE * low for low, high in zip(lowest, highest, strict=True)):
        axes = ("between slices", "between rows", "between columns")
        spans = ", ".join(
            f"{low:.3g} to {high:.3g} mm {axis}"
            for low, high, axis in zip(lowest, highest, axes, strict=True)
            if high > SPACING_RANGE * low
        )
        warnings.warn(
            f"The spacing of the volumes is mixed: {spans}. Each is stretched to image_size, so the same organ has another size "
            "from one to the next; set spacing, in mm, to resample them all alike.",
            stacklevel=3,
        )
