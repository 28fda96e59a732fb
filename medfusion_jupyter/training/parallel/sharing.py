"""What makes a loop one of several over the same batches: each passes its part through the model, the loss is of them all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from medfusion_jupyter.data.batch_rows import rows_of_share
from medfusion_jupyter.data.batches import Batch, BatchSource
from medfusion_jupyter.nn import FusionModel
from medfusion_jupyter.training.loop import Loop
from medfusion_jupyter.training.parallel.ranks import Ranks
from medfusion_jupyter.training.validation import metrics_of, outputs_of


def share(loop: Loop, ranks: Ranks) -> SharedForward:
    """Have a loop that was built for one device train as one of `ranks`; gives what passes the batches through the model.

    The weights then change as one process would change them with the same batches, but for what differs by nature: each rank
    draws its own dropout, and batch norm knows the rows of its share alone (see the setting sync_batchnorm).
    """
    forward = SharedForward(loop, ranks)
    step = loop.step
    step.forward = forward
    step.loss = partial(_of_whole_batch, step.loss, ranks)
    if step.mixed_loss is not None:
        step.mixed_loss = partial(_of_whole_batch, step.mixed_loss, ranks)
    loop.val.share = (ranks.rank, ranks.size)
    loop.validate = partial(validate_together, ranks)
    if loop.settings.mixing is None:
        loop.train.share = (ranks.rank, ranks.size)
    else:
        # partners may be in another rank's share: every rank makes the whole batch, and keeps its part of it once it is mixed
        loop.settings = replace(loop.settings, mixing=OwnPartOfMixed(loop.settings.mixing, ranks))
    return forward


class SharedForward:
    """The model's forward pass, after whose backward pass every rank has the mean of all ranks' gradients."""

    def __init__(self, loop: Loop, ranks: Ranks) -> None:
        self.loop = loop
        self.ranks = ranks
        self._model = loop.step.forward
        self._learning: list[bool] = []
        self._ddp: DistributedDataParallel | None = None

    def wrap(self) -> None:
        """Make DistributedDataParallel anew where other parameters learn than before: it counts on their gradients."""
        learning = [parameter.requires_grad for parameter in self.loop.step.parameters]
        if learning == self._learning:
            return
        self._learning = learning
        self._ddp = None  # the former one's hooks go with it
        assert isinstance(self._model, torch.nn.Module)
        self._ddp = DistributedDataParallel(
            self._model,
            device_ids=None if self.ranks.device == "cpu" else [self.ranks.device],
            # what no row of any rank passes through, such as images that are absent, gets no gradient
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )

    def unwrap(self) -> None:
        """Give back the memory of the gradients' buckets; `wrap` makes them anew."""
        self._ddp, self._learning = None, []
        if self.ranks.device != "cpu":
            torch.cuda.empty_cache()

    def __call__(self, *inputs: Any) -> Tensor:
        state, accumulate = self.loop.state, self.loop.settings.accumulate
        if not self.ranks.leads:
            # a function of the place, so that checkpoints need to hold the first rank's generators alone
            key = (self.loop.settings.seed, self.ranks.rank, state.finished_epochs, state.batch)
            seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
            torch.default_generator.manual_seed(seed)
            if self.ranks.device != "cpu":
                torch.cuda.manual_seed(seed)
        assert self._ddp is not None
        ends_step = (state.batch + 1) % accumulate == 0 or state.batch + 1 == len(self.loop.train)
        self._ddp.require_backward_grad_sync = ends_step
        outputs: Tensor = self._ddp(*inputs)
        return outputs


def validate_together(
    ranks: Ranks, model: FusionModel, source: BatchSource, autocast: AbstractContextManager[Any]
) -> dict[str, float]:
    """As `validate`, each rank for its share of the rows; the metrics are the first one's, of all rows."""
    ranks.take_buffers(model)
    outputs, target = outputs_of(model, source, autocast, whole=ranks.whole)
    metrics = metrics_of(model.head, outputs, target, source.patients) if ranks.leads else None
    agreed: dict[str, float] = ranks.agreed(metrics)
    return agreed


class OwnPartOfMixed:
    """Mixing of whole batches, of which this rank's part is left."""

    def __init__(self, mixing: Callable[..., tuple[Batch, Tensor, float]], ranks: Ranks) -> None:
        self.mixing = mixing
        self.ranks = ranks

    def __call__(
        self, batch: Batch, presence: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Batch, Tensor, float]:
        mixed, partners, share = self.mixing(batch, presence, rng)
        own = rows_of_share(len(batch), self.ranks.rank, self.ranks.size)
        part = replace(
            mixed,
            images=tuple(image[own] for image in mixed.images),
            numeric=None if mixed.numeric is None else mixed.numeric[own],
            codes=None if mixed.codes is None else mixed.codes[own],
            present=mixed.present[own],
            all_present=bool(presence[own].all()),
        )
        return part, partners, share


def _of_whole_batch(loss: Callable[..., Tensor], ranks: Ranks, outputs: Tensor, target: Tensor, *mixed: Any) -> Tensor:
    return loss(ranks.whole(outputs, len(target)), target, *mixed)
