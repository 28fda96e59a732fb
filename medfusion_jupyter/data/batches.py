"""Batches on the device, from the pixel cache and the encoded table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfusion_jupyter.data.augment import augment
from medfusion_jupyter.data.pixel_cache import PixelCache
from medfusion_jupyter.data.table_encoding import TableArrays
from medfusion_jupyter.settings.augmentation import Augmentation

DEVICE_SHARE = 0.25
"""Pixels stay on a GPU for the whole run where they take at most this share of its free memory."""


@dataclass(frozen=True)
class Batch:
    """B rows. image `(B, C, H, W)` float32, normalised, 0 where absent; numeric `(B, F)` float32; codes `(B, K)` int64;
    present `(B, M)` bool, a column a modality; target `(B,)` or `(B, W)` or None; rows: positions in the cohort; all_present:
    whether `present` is True everywhere, known without asking the device.

    Where several processes share each batch, image, numeric, codes and present are those of this one's rows alone
    (`rows_of_share`); target and rows are always of the whole batch."""

    image: Tensor | None
    numeric: Tensor | None
    codes: Tensor | None
    present: Tensor
    target: Tensor | None
    rows: NDArray[np.int64]
    all_present: bool

    def __len__(self) -> int:
        return len(self.rows)


class BatchSource:
    """The batches of some rows of a cohort.

    mean, std: of each channel in units of the full range; modalities: in the order of the mask's columns;
    patients: the patient of each row of the cohort, kept for those of the source. balanced: an epoch in an order draws as many
    rows as there are with replacement, each class as often, instead of taking each row once.

    share: where several processes share each batch, the number of this one, from 0, and how many they are.
    """

    share: tuple[int, int] | None = None

    def __init__(
        self,
        cache: PixelCache | None,
        table: TableArrays | None,
        targets: Tensor | None,
        *,
        rows: NDArray[np.int64],
        batch_size: int,
        device: str,
        mean: Sequence[float],
        std: Sequence[float],
        modalities: Sequence[str],
        patients: NDArray[np.int64] | None = None,
        balanced: bool = False,
    ) -> None:
        self.patients = None if patients is None else patients[rows]
        self.rows = np.asarray(rows, dtype=np.int64)
        self._chances = _chances(targets, self.rows) if balanced else None
        self.batch_size = batch_size
        self.device = device
        self._on_gpu = device.startswith("cuda")
        self._present = np.stack(
            [
                cache.slots >= 0 if name == "image" and cache is not None else _table_presence(table)
                for name in modalities
            ],
            axis=1,
        )
        self._numeric = None if table is None else torch.from_numpy(table.numeric).to(device)
        self._codes = None if table is None else torch.from_numpy(table.codes).to(device)
        self._targets = None if targets is None else targets.to(device)
        self._mask = torch.from_numpy(self._present).to(device)
        self._cache = cache
        self._pixels: Tensor | None = None
        if cache is not None:
            full = float(cache.max_value)
            # (x / full - mean) / std as one multiplication and one addition
            self._factor = torch.tensor([1 / (full * s) for s in std], device=device).view(1, -1, 1, 1)
            self._offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device).view(
                1, -1, 1, 1
            )
            self._slots = np.maximum(cache.slots, 0)  # an absent image is read as the first one, and blanked
            self._absent = cache.slots < 0
            self._absent_on_device = torch.from_numpy(self._absent).to(device)
            if self._on_gpu:
                self._pixels = _pixels_on_device(cache, device)
                self._slots_on_device = torch.from_numpy(self._slots).to(device)

    def __len__(self) -> int:
        """Batches an epoch. A last batch of one row joins the one before it: batch norm cannot learn from one row."""
        full, left = divmod(len(self.rows), self.batch_size)
        return full + (left > 1 or (left == 1 and full == 0))

    def rows_of_epoch(self, order: tuple[int, int] | None) -> list[NDArray[np.int64]]:
        """The rows of each batch: a function of order, (seed, epoch), alone; None keeps the order of the rows."""
        rows = self.rows
        if order is not None:
            rng = np.random.default_rng(order)
            rows = rng.permutation(rows) if self._chances is None else rng.choice(rows, len(rows), p=self._chances)
        starts = [k * self.batch_size for k in range(len(self))]
        return [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]

    def epoch(
        self,
        order: tuple[int, int] | None,
        augmentation: Augmentation | None,
        generator: torch.Generator | None,
        *,
        start: int = 0,
    ) -> Iterator[Batch]:
        """The batches of `rows_of_epoch(order)`, from number `start` on.

        augmentation: changes the images, drawing from `generator`. start: leaves out so many batches at the beginning, without
        making them. With the generator as it was when an epoch had given them, the rest is the rest of that epoch to the bit.
        A batch is made when it is asked for, so the generator stands behind the last batch given.
        """
        batches = self.rows_of_epoch(order)
        # all indices go to the device at once: a copy a batch would make it wait each time
        index = torch.from_numpy(np.concatenate(batches)).to(self.device)
        parts = torch.split(index, [len(rows) for rows in batches])
        make = self._batch if self.share is None else partial(self._own_part, *self.share)
        for rows, part in zip(batches[start:], parts[start:], strict=True):
            yield make(rows, part, augmentation, generator)

    def presence(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`(B, M)`: which modalities those rows of the cohort have, without asking the device."""
        present: NDArray[np.bool_] = self._present[rows]
        return present

    def _batch(
        self,
        rows: NDArray[np.int64],
        index: Tensor,
        augmentation: Augmentation | None,
        generator: torch.Generator | None,
        part: tuple[slice, int] | None = None,
    ) -> Batch:
        """part: as of `augment`."""
        image = None
        if self._cache is not None:
            image = self._chosen(self._cache, rows, index).to(torch.float32).mul_(self._factor).add_(self._offset)
            if augmentation is not None:
                assert generator is not None
                image = augment(image, augmentation, generator, part)
            if self._absent[rows].any():
                image.masked_fill_(self._absent_on_device.index_select(0, index).view(-1, 1, 1, 1), 0)
        return Batch(
            image=image,
            numeric=None if self._numeric is None else self._numeric.index_select(0, index),
            codes=None if self._codes is None else self._codes.index_select(0, index),
            present=self._mask.index_select(0, index),
            target=None if self._targets is None else self._targets.index_select(0, index),
            rows=rows,
            all_present=bool(self._present[rows].all()),
        )

    def _own_part(
        self,
        number: int,
        shares: int,
        rows: NDArray[np.int64],
        index: Tensor,
        augmentation: Augmentation | None,
        generator: torch.Generator | None,
    ) -> Batch:
        own = rows_of_share(len(rows), number, shares)
        batch = self._batch(rows[own], index[own], augmentation, generator, (own, len(rows)))
        target = None if self._targets is None else self._targets.index_select(0, index)
        return replace(batch, target=target, rows=rows)

    def _chosen(self, cache: PixelCache, rows: NDArray[np.int64], index: Tensor) -> Tensor:
        """The pixels of the rows, uint8 or uint16, on the device."""
        if self._pixels is None:
            host = torch.empty(
                (len(rows), *cache.pixels.shape[1:]),
                dtype=torch.uint8 if cache.pixels.dtype == np.uint8 else torch.uint16,
                pin_memory=self._on_gpu,
            )
            np.take(cache.pixels, self._slots[rows], axis=0, out=host.numpy(), mode="clip")
            # pinned memory is copied without waiting, and PyTorch keeps it until that is done
            return host.to(self.device, non_blocking=True)
        chosen = self._pixels.index_select(0, self._slots_on_device.index_select(0, index))
        return chosen.view(torch.uint16) if chosen.dtype == torch.int16 else chosen


def rows_of_share(count: int, number: int, shares: int) -> slice:
    """Which of a batch's `count` rows the process `number` of so many takes: shares that differ by one row at most.

    A batch that has not two rows for each is taken whole by all of them: batch norm cannot learn from one row.
    """
    if count < 2 * shares:
        return slice(0, count)
    return slice(count * number // shares, count * (number + 1) // shares)


_kept_on_device: WeakKeyDictionary[PixelCache, dict[str, Tensor]] = WeakKeyDictionary()


def _pixels_on_device(cache: PixelCache, device: str) -> Tensor | None:
    """All pixels of the cache on a GPU, once for all its sources, where they take no more than DEVICE_SHARE of its free memory.

    uint16 lies there as int16 of the same bits: tensors of uint16 cannot be indexed.
    """
    kept = _kept_on_device.setdefault(cache, {})
    if device not in kept and cache.pixels.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        pixels = np.ascontiguousarray(cache.pixels)
        kept[device] = torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.view(np.int16)).to(device)
    return kept.get(device)


def _chances(targets: Tensor | None, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    assert targets is not None
    of_row = targets.numpy()[rows]
    chances = 1 / np.bincount(of_row)[of_row]
    normed: NDArray[np.float64] = chances / chances.sum()
    return normed


def _table_presence(table: TableArrays | None) -> NDArray[np.bool_]:
    assert table is not None
    return table.present
