"""The training loop. It knows batches, a model, an optimiser and callbacks: not the store, not widgets."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from medfusion_jupyter.data.batches import Batch, BatchSource
from medfusion_jupyter.nn import FusionModel
from medfusion_jupyter.settings.augmentation import Augmentation
from medfusion_jupyter.training.callbacks import Callback
from medfusion_jupyter.training.control import Control, Stopped
from medfusion_jupyter.training.schedule import warmup_cosine
from medfusion_jupyter.training.validation import validate

# step losses stay on the device until they are read together: a read makes the device wait
READ_EVERY_SECONDS = 0.25


class LossIsNotFinite(RuntimeError):
    """The loss became NaN or infinite."""

    def __init__(self, step: int, epoch: int, value: float) -> None:
        word = "NaN" if math.isnan(value) else "infinite"
        super().__init__(
            f"The loss is {word} at step {step} (epoch {epoch}). Lower lr or lengthen warmup; the checkpoint of the "
            "last finished epoch is kept."
        )
        self.step = step


@dataclass
class LoopState:
    """Where a run is. Callbacks read it; BestEpoch also writes the best and `finish_early`."""

    model: FusionModel
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    epochs: int
    steps_per_epoch: int
    epoch: int = 0
    step: int = 0
    samples: int = 0
    row: dict[str, float] = field(default_factory=dict)
    read_losses: list[tuple[int, float, float]] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    finish_early: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class LoopSettings:
    """What the loop needs of the configuration."""

    lr: float
    warmup_steps: int
    seed: int
    augment: Augmentation | None
    autocast: AbstractContextManager[Any]


class Loop:
    """Trains `state.model` on `train`, validating on `val` after each epoch."""

    def __init__(
        self,
        state: LoopState,
        train: BatchSource,
        val: BatchSource,
        settings: LoopSettings,
        callbacks: Sequence[Callback],
        control: Control,
    ) -> None:
        self.state = state
        self.train = train
        self.val = val
        self.settings = settings
        self.callbacks = callbacks
        self.control = control
        self._unread: list[tuple[int, Tensor, float]] = []
        self._read_at = 0.0
        self._loss_sum = 0.0
        self._loss_count = 0
        # only the callbacks that define batch_end are called each step
        self._at_batch_end = [c.batch_end for c in callbacks if type(c).batch_end is not Callback.batch_end]

    def run(self) -> None:
        """Run to the last epoch, to an early end or to a stop. Raises LossIsNotFinite, and what callbacks raise."""
        state = self.state
        self.notify("fit_start")
        try:
            while state.epoch < state.epochs and not state.finish_early:
                self._epoch()
        except Stopped:
            state.stopped = True
        self.notify("fit_end")

    def notify(self, event: str) -> None:
        """Call the method named `event` of every callback, in their order."""
        for callback in self.callbacks:
            getattr(callback, event)(self.state)

    def _epoch(self) -> None:
        state, settings = self.state, self.settings
        began = time.perf_counter()
        finished_epochs = state.epoch
        state.epoch += 1
        state.row = {}
        self._loss_sum, self._loss_count = 0.0, 0
        try:
            self.notify("epoch_start")
            state.model.train()
            for batch in self._batches(finished_epochs):
                self._step(batch)
                for call in self._at_batch_end:
                    call(state)
                if self.control.attention:
                    self._rest()
            self._read()
        except BaseException:
            # a stop in mid-epoch leaves state.epoch at the last finished one, as a checkpoint of it says
            state.epoch = finished_epochs
            raise
        lr = self._rate(state.step - 1)
        state.row = {
            "train/loss": self._loss_sum / max(1, self._loss_count),
            **validate(state.model, self.val, settings.autocast),
            "lr": lr,
            "seconds": time.perf_counter() - began,
        }
        self.notify("epoch_end")
        if self.control.attention:
            self._rest()

    def _batches(self, epoch: int) -> Iterator[Batch]:
        return self.train.epoch((self.settings.seed, epoch), self.settings.augment, self.state.generator)

    def _rate(self, step: int) -> float:
        share = warmup_cosine(step, warmup_steps=self.settings.warmup_steps, total_steps=self.state.total_steps)
        return self.settings.lr * share

    def _step(self, batch: Batch) -> None:
        state = self.state
        rate = self._rate(state.step)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        assert batch.target is not None
        with self.settings.autocast:
            outputs = state.model(batch.image, batch.numeric, batch.codes, batch.present, batch.all_present)
            loss = state.model.head.loss(outputs, batch.target)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.samples += len(batch)
        self._unread.append((state.step, loss.detach(), rate))
        if time.perf_counter() - self._read_at > READ_EVERY_SECONDS:
            self._read()

    def _read(self) -> None:
        if not self._unread:
            return
        steps, tensors, rates = zip(*self._unread, strict=True)
        self._unread = []
        values = torch.stack(tensors).tolist()
        for step, value in zip(steps, values, strict=True):
            if not math.isfinite(value):
                raise LossIsNotFinite(step, self.state.epoch, value)
        self._loss_sum += sum(values)
        self._loss_count += len(values)
        self.state.read_losses = list(zip(steps, values, rates, strict=True))
        self.notify("losses")
        self._read_at = time.perf_counter()

    def _rest(self) -> None:
        self._read()
        self.control.obey(lambda: self.notify("paused"), lambda: self.notify("resumed"))
        changes = self.control.take_changes()
        if changes:
            self.settings = replace(self.settings, lr=changes.get("lr", self.settings.lr))
            # the epoch under way is finished in any case
            self.state.epochs = max(changes.get("epochs", self.state.epochs), self.state.epoch)
            self.state.changes = changes
            self.notify("changed")
