"""Batches on the device, from the pixel cache and the encoded table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfusion_jupyter.data.augment import augment
from medfusion_jupyter.data.batch_rows import BAG_STREAM, chances_of_balanced, drawn_from_bags, limited, rows_of_share
from medfusion_jupyter.data.boxes import MarkedBoxes
from medfusion_jupyter.data.pixel_cache import PixelCache
from medfusion_jupyter.data.table_encoding import TableArrays
from medfusion_jupyter.settings.augmentation import Augmentation

DEVICE_SHARE = 0.25
"""Pixels stay on a GPU for the whole run where they take at most this share of its free memory."""


LEAST_SPREAD = 1e-6
"""An image of one colour is centred only: its standard deviation, of the full range, counts as so much at least."""


@dataclass(frozen=True)
class Batch:
    """B rows. images: of each view `(B, C, H, W)` float32, normalised, 0 where absent, of volumes `(B, C, D, H, W)`; numeric
    `(B, F)` float32; codes `(B, K)` int64; present `(B, M)` bool, a column a modality; target `(B,)` or `(B, W)`, or None; rows:
    positions in the cohort; all_present: whether `present` is True everywhere, known without asking the device. features: of
    each view `(B, 1 + T, D)` float32, what an image encoder made of the images earlier, its vector and its T tokens, in place of
    `images`; of no meaning where absent. mask `(B, 1, H, W)` float32: 1 where the image was marked, changed as the image was.

    instances: where rows have bags, of each view `(B, N)` bool, which places of each bag have an image; `images` are then these
    alone, one after the other, `(I, C, H, W)`.

    Where several processes share each batch, inputs are those of this one's rows alone (`rows_of_share`); target and rows are
    always of the whole batch."""

    images: tuple[Tensor, ...]
    numeric: Tensor | None
    codes: Tensor | None
    present: Tensor
    target: Tensor | None
    rows: NDArray[np.int64]
    all_present: bool
    instances: tuple[Tensor, ...] = ()
    features: tuple[Tensor, ...] = ()
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)


class BatchSource:
    """The batches of some rows of a cohort.

    mean, std: of each channel in units of the full range, none where each image has its own; modalities: in the order of the
    mask's columns; patients: the patient of each row of the cohort, kept for those of the source. balanced: an epoch in an order
    draws as many rows as there are with replacement, each class as often, instead of taking each row once.

    The slots of the cache are `(R,)` for one image a row of the cohort, `(V, R)` for V views and `(V, R, N)` for bags of at most
    N images. max_images: so many of a bag are in a batch of an epoch in an order, drawn anew each time; None takes all.

    share: where several processes share each batch, the number of this one, from 0, and how many they are.
    """

    share: tuple[int, int] | None = None

    def __init__(
        self,
        cache: PixelCache | None,
        table: TableArrays | None,
        targets: NDArray[Any] | None,
        *,
        rows: NDArray[np.int64],
        batch_size: int,
        device: str,
        mean: Sequence[float],
        std: Sequence[float],
        modalities: Sequence[str],
        patients: NDArray[np.int64] | None = None,
        balanced: bool = False,
        max_images: int | None = None,
    ) -> None:
        self.patients = None if patients is None else patients[rows]
        self.rows = np.asarray(rows, dtype=np.int64)
        self._chances = chances_of_balanced(targets, self.rows) if balanced else None
        self.batch_size = batch_size
        self.device = device
        self._on_gpu = device.startswith("cuda")
        slots = None if cache is None else np.atleast_2d(cache.slots)
        self._bags = slots if slots is not None and slots.ndim == 3 else None
        self._max_images = max_images
        presence = (
            [] if slots is None else [of_view.any(axis=1) if of_view.ndim == 2 else of_view for of_view in slots >= 0]
        )
        if "table" in modalities:
            assert table is not None
            presence.append(table.present)
        self._present = np.stack(presence, axis=1)
        self._numeric = None if table is None else torch.from_numpy(table.numeric).to(device)
        self._codes = None if table is None else torch.from_numpy(table.codes).to(device)
        self._targets = None if targets is None else torch.from_numpy(targets).to(device)
        self._mask = torch.from_numpy(self._present).to(device)
        self._cache = cache
        self._pixels: Tensor | None = None
        self._features: NDArray[np.float32] | None = None
        self._masks: PixelCache | MarkedBoxes | None = None
        if cache is not None:
            assert slots is not None
            full = float(cache.max_value)
            # (x / full - mean) / std as one multiplication and one addition
            of_channel = (1, -1, *(1 for _ in cache.pixels.shape[2:]))
            self._by_itself = full * LEAST_SPREAD if not mean else None
            self._factor = torch.tensor([1 / (full * s) for s in std], device=device).view(of_channel)
            offsets = [-m / s for m, s in zip(mean, std, strict=True)]
            self._offset = torch.tensor(offsets, device=device).view(of_channel)
            if self._on_gpu:
                self._pixels = _pixels_on_device(cache, device)
            if self._bags is None:
                self._views = [_View(of_view, device) for of_view in slots]

    def __len__(self) -> int:
        """Batches an epoch. A last batch of one row joins the one before it: batch norm cannot learn from one row."""
        full, left = divmod(len(self.rows), self.batch_size)
        return full + (left > 1 or (left == 1 and full == 0))

    def rows_of_epoch(self, order: tuple[int, int] | None) -> list[NDArray[np.int64]]:
        """The rows of each batch: a function of order, (seed, epoch), alone; None keeps the order of the rows."""
        rows = self.rows
        if order is None and self._bags is not None:
            return limited((self._bags[:, rows] >= 0).sum(axis=(0, 2)), rows, self.batch_size)
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
        for number in range(start, len(batches)):
            rows, part = batches[number], parts[number]
            own = None if self.share is None else rows_of_share(len(rows), *self.share)
            if self._features is not None:
                yield self._batch(rows, part, own, (), features=self._features_of(self._features, rows))
            elif self._bags is None:
                before = None if generator is None or self._masks is None else generator.get_state()
                batch = self._batch(rows, part, own, self._of_views(rows, part, own, augmentation, generator))
                if self._masks is not None:
                    batch = replace(batch, mask=self._mask_of(self._masks, rows, augmentation, before))
                yield batch
            else:
                draw = None if order is None else np.random.default_rng((*order, number, BAG_STREAM))
                yield self._batch(rows, part, own, *self._of_bags(rows, own, augmentation, generator, draw))

    def leave_device(self) -> None:
        """Give back the GPU's memory that the pixels take; until `return_to_device` batches are copied from the host."""
        self._pixels = None
        if self._cache is not None:
            _kept_on_device.pop(self._cache, None)

    def return_to_device(self) -> None:
        """Lay the pixels on the GPU again, where they still fit."""
        if self._cache is not None and self._on_gpu:
            self._pixels = _pixels_on_device(self._cache, self.device)

    def read_features(self, features: NDArray[np.float32]) -> None:
        """Give these in place of images from now on. features: `(S, 1 + T, D)`, for each image of the pixel cache."""
        self._features = features

    def read_masks(self, masks: PixelCache | MarkedBoxes) -> None:
        """Give also what was marked in the images from now on. masks: boxes or, of pixels, a slot for each row of the cohort."""
        self._masks = masks

    def read_images(self) -> None:
        """Give images again from now on."""
        self._features = None

    @property
    def pixel_cache(self) -> PixelCache | None:
        """Where the images come from."""
        return self._cache

    def every_image(self) -> Iterator[Tensor]:
        """All images of the pixel cache in its order, normalised: `(B, C, H, W)`, a batch at a time."""
        assert self._cache is not None
        for start in range(0, len(self._cache.pixels), self.batch_size):
            pixels = torch.from_numpy(np.array(self._cache.pixels[start : start + self.batch_size]))
            yield self._normalised(pixels.to(self.device))

    def presence(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`(B, M)`: which modalities those rows of the cohort have, without asking the device."""
        present: NDArray[np.bool_] = self._present[rows]
        return present

    def _of_views(
        self,
        rows: NDArray[np.int64],
        index: Tensor,
        own: slice | None,
        augmentation: Augmentation | None,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, ...]:
        """The images of each view, of the rows in `own` where the batch is shared."""
        if self._cache is None:
            return ()
        part = None
        if own is not None:
            rows, index, part = rows[own], index[own], (own, len(rows))
        images = []
        for view in self._views:
            chosen = self._chosen(view.slots[rows], view.on_device, index)
            image = self._changed(chosen, augmentation, generator, part)
            if view.absent[rows].any():
                blank = view.absent_on_device.index_select(0, index)
                image.masked_fill_(blank.view(-1, *(1 for _ in image.shape[1:])), 0)
            images.append(image)
        return tuple(images)

    def _mask_of(
        self,
        masks: PixelCache | MarkedBoxes,
        rows: NDArray[np.int64],
        augmentation: Augmentation | None,
        before: Tensor | None,
    ) -> Tensor:
        """before: the generator as it was when the images were changed, so that the masks are moved as they were."""
        mask = torch.from_numpy(masks.marked(rows)).to(self.device, torch.float32)
        if augmentation is None:
            return mask
        assert before is not None
        again = torch.Generator(self.device)
        again.set_state(before)
        return augment(mask, augmentation.model_copy(update={"brightness": 0.0, "contrast": 0.0}), again)

    def _features_of(self, features: NDArray[np.float32], rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(features[view.slots[rows]]).to(self.device) for view in self._views)

    def _of_bags(
        self,
        rows: NDArray[np.int64],
        own: slice | None,
        augmentation: Augmentation | None,
        generator: torch.Generator | None,
        draw: np.random.Generator | None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The images of the bags of each view and their places, of the rows in `own` where the batch is shared."""
        assert self._bags is not None
        found = [self._of_bag(of_view[rows], own, augmentation, generator, draw) for of_view in self._bags]
        return tuple(images for images, _ in found), tuple(there for _, there in found)

    def _of_bag(
        self,
        slots: NDArray[np.int64],
        own: slice | None,
        augmentation: Augmentation | None,
        generator: torch.Generator | None,
        draw: np.random.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        part = None
        if draw is not None and self._max_images is not None:
            slots = drawn_from_bags(slots, self._max_images, draw)
        if own is not None:
            counts = (slots >= 0).sum(axis=1)
            before, count = int(counts[: own.start].sum()), int(counts[own].sum())
            slots, part = slots[own], (slice(before, before + count), int(counts.sum()))
        there = slots >= 0
        # only as wide as the fullest bag of the batch
        width = max(1, int(np.flatnonzero(there.any(axis=0)).max(initial=0)) + 1)
        there, flat = there[:, :width], slots[there]
        on_device = torch.from_numpy(flat).to(self.device)
        image = self._changed(self._chosen(flat, on_device, None), augmentation, generator, part)
        return image, torch.from_numpy(there).to(self.device)

    def _batch(
        self,
        rows: NDArray[np.int64],
        index: Tensor,
        own: slice | None,
        images: tuple[Tensor, ...],
        instances: tuple[Tensor, ...] = (),
        features: tuple[Tensor, ...] = (),
    ) -> Batch:
        target = None if self._targets is None else self._targets.index_select(0, index)
        present = self._present[rows]
        if own is not None:
            index, present = index[own], present[own]
        return Batch(
            images=images,
            numeric=None if self._numeric is None else self._numeric.index_select(0, index),
            codes=None if self._codes is None else self._codes.index_select(0, index),
            present=self._mask.index_select(0, index),
            target=target,
            rows=rows,
            all_present=bool(present.all()),
            instances=instances,
            features=features,
        )

    def _changed(
        self,
        pixels: Tensor,
        augmentation: Augmentation | None,
        generator: torch.Generator | None,
        part: tuple[slice, int] | None,
    ) -> Tensor:
        """The pixels normalised, and changed where the epoch augments. part: as of `augment`."""
        image = self._normalised(pixels)
        if augmentation is None:
            return image
        assert generator is not None
        return augment(image, augmentation, generator, part)

    def _normalised(self, pixels: Tensor) -> Tensor:
        image = pixels.to(torch.float32)
        if self._by_itself is None:
            return image.mul_(self._factor).add_(self._offset)
        std, mean = torch.std_mean(image, dim=tuple(range(2, image.ndim)), correction=0, keepdim=True)
        return image.sub_(mean).div_(std.clamp_min_(self._by_itself))

    def _chosen(self, slots: NDArray[np.int64], on_device: Tensor | None, index: Tensor | None) -> Tensor:
        """The pixels in those slots, uint8 or uint16, on the device; on_device: the slots there, of all rows where `index`
        chooses among them."""
        cache = self._cache
        assert cache is not None
        if self._pixels is None:
            host = torch.empty(
                (len(slots), *cache.pixels.shape[1:]),
                dtype=torch.uint8 if cache.pixels.dtype == np.uint8 else torch.uint16,
                pin_memory=self._on_gpu,
            )
            np.take(cache.pixels, slots, axis=0, out=host.numpy(), mode="clip")
            # pinned memory is copied without waiting, and PyTorch keeps it until that is done
            return host.to(self.device, non_blocking=True)
        assert on_device is not None
        chosen = self._pixels.index_select(0, on_device if index is None else on_device.index_select(0, index))
        return chosen.view(torch.uint16) if chosen.dtype == torch.int16 else chosen


class _View:
    """Where the image of each row of the cohort lies. An absent one is read as the first, and blanked."""

    def __init__(self, slots: NDArray[np.int64], device: str) -> None:
        self.slots = np.maximum(slots, 0)
        self.absent = slots < 0
        self.absent_on_device = torch.from_numpy(self.absent).to(device)
        self.on_device = torch.from_numpy(self.slots).to(device) if device.startswith("cuda") else None


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
