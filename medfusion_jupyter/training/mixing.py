"""Mixup and CutMix of images and table, with partners that have the same modalities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfusion_jupyter.data.batches import Batch


@dataclass(frozen=True)
class Mixing:
    """How batches are mixed. mixup, cutmix: alpha of each, 0 is off; where both are on, each batch takes one of them by chance.

    A row's partner has the same modalities, so nothing is mixed with what is not there; a row without such a partner stays as
    it is. mixup: images and numbers are `share * own + (1 - share) * partner's`. cutmix: a rectangle of 1 - share of the
    image comes from the partner, and each number with chance 1 - share. Categories cannot be averaged: in both, each comes
    from the partner with chance 1 - share. The loss is `share * of the own target + (1 - share) * of the partner's`.

    Zhang et al., "mixup", ICLR 2018; Yun et al., "CutMix", ICCV 2019.
    """

    mixup: float
    cutmix: float

    def __call__(
        self, batch: Batch, presence: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Batch, Tensor, float]:
        """The mixed batch, the partners' targets `(B,)`, and the share of a row's own. presence: `(B, M)`."""
        assert batch.target is not None
        cut = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        alpha = self.cutmix if cut else self.mixup
        share = float(rng.beta(alpha, alpha))
        partner = torch.from_numpy(partners(presence, rng)).to(batch.target.device)
        images, numeric, codes = batch.images, batch.numeric, batch.codes
        if images and cut:
            height, width = images[0].shape[-2:]
            top, bottom, left, right = _rectangle(height, width, share, rng)
            images = tuple(image.clone() for image in images)
            for image in images:
                # of a volume a block of its full depth
                image[..., top:bottom, left:right] = image.index_select(0, partner)[..., top:bottom, left:right]
            # the rectangle is cut off at the border: the share is what is left in fact
            share = 1 - (bottom - top) * (right - left) / (height * width)
        else:
            images = tuple(torch.lerp(image.index_select(0, partner), image, share) for image in images)
        if numeric is not None:
            other = numeric.index_select(0, partner)
            numeric = (
                torch.where(_drawn(numeric, share, rng), other, numeric) if cut else torch.lerp(other, numeric, share)
            )
        if codes is not None and codes.shape[1]:
            codes = torch.where(_drawn(codes, share, rng), codes.index_select(0, partner), codes)
        mixed = replace(batch, images=images, numeric=numeric, codes=codes)
        return mixed, batch.target.index_select(0, partner), share


def partners(presence: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """`(B, M) -> (B,)`: for each row another of the same modalities, as a permutation; a row alone in that is its own."""
    chosen = np.arange(len(presence), dtype=np.int64)
    kinds = np.unique(presence, axis=0, return_inverse=True)[1].reshape(-1)
    for kind in range(kinds.max() + 1):
        alike = np.flatnonzero(kinds == kind)
        # a shift of a shuffled circle: nobody is paired with themselves
        circle = rng.permutation(alike)
        chosen[circle] = np.roll(circle, 1)
    return chosen


def _drawn(values: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.random(tuple(values.shape)) > share).to(values.device)


def _rectangle(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    side = (1 - share) ** 0.5
    y, x = rng.integers(height), rng.integers(width)
    half_h, half_w = int(side * height) // 2, int(side * width) // 2
    return (
        max(0, int(y) - half_h),
        min(height, int(y) + half_h),
        max(0, int(x) - half_w),
        min(width, int(x) + half_w),
    )
