"""The training loop. It knows batches, a step, a state and callbacks: not the store, not widgets."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfusion_jupyter.data.batches import Batch, BatchSource
from medfusion_jupyter.settings.augmentation import Augmentation
from medfusion_jupyter.training.before_step import BeforeStep
from medfusion_jupyter.training.callbacks import Callbacks
from medfusion_jupyter.training.control import Abandoned, Control, Stopped
from medfusion_jupyter.training.devices import is_out_of_memory
from medfusion_jupyter.training.mixing import Mixing
from medfusion_jupyter.training.objective import shares_of_steps
from medfusion_jupyter.training.parking import Parking
from medfusion_jupyter.training.schedule import Schedule
from medfusion_jupyter.training.state import LoopState, saved
from medfusion_jupyter.training.step import Step
from medfusion_jupyter.training.validation import validate

T = TypeVar("T")

# step losses stay on the device until they are read together: a read makes the device wait
READ_EVERY_SECONDS = 0.25
MIXING_STREAM = 1
"""Tells the chances of mixing from those of the order, which has the same seed and epoch."""


class LossIsNotFinite(RuntimeError):
    """The loss became NaN or infinite."""

    def __init__(self, step: int, epoch: int, value: float, of: str = "The loss") -> None:
        word = "NaN" if math.isnan(value) else "infinite"
        super().__init__(
            f"{of} is {word} at step {step} (epoch {epoch}). Lower lr, lengthen warmup or set gradient_clip_val; the "
            "checkpoint of the last finished epoch is kept."
        )
        self.step = step


@dataclass(frozen=True)
class LoopSettings:
    """What the loop needs of the configuration.

    row_weights: how much each row of the cohort counts in the loss, needed where a step has several batches; validate_every:
    epochs from one validation to the next; validate_within: steps from one to the next within an epoch, or None.
    """

    seed: int
    autocast: AbstractContextManager[Any]
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augmentation | None = None
    mixing: Mixing | Callable[..., tuple[Batch, Tensor, float]] | None = None
    accumulate: int = 1
    row_weights: NDArray[np.float64] | None = None
    validate_every: int = 1
    validate_within: int | None = None


class Loop:
    """Trains `state.model` on `train` by `step`, validating on `val` after epochs.

    smaller_batch: asked where memory runs out in the batches of a step or in a validation, neither of which has changed a weight
    by then. It gives the settings of smaller batches of the same steps, with which this is done again, or None: the error
    is then raised, as it is where nobody is asked.
    """

    def __init__(
        self,
        state: LoopState,
        step: Step,
        train: BatchSource,
        val: BatchSource,
        settings: LoopSettings,
        callbacks: Callbacks,
        control: Control,
    ) -> None:
        self.state = state
        self.step = step
        self.train = train
        self.val = val
        self.settings = settings
        self.callbacks = callbacks
        self.control = control
        self.validate: Callable[..., dict[str, float]] = validate
        self.smaller_batch: Callable[[RuntimeError], dict[str, Any] | None] | None = None
        self.parking = Parking(state, (train, val))
        self._batches_an_epoch = len(train)
        self._batches: Iterator[Batch] = iter(())
        self._shares: list[float] | None = None
        self._within_step = False
        self._before_step: BeforeStep | None = None
        self._unread: list[tuple[int, Tensor, float]] = []
        self._read_at = 0.0
        self._at_batch_end = callbacks.calls("batch_end")
        self._before_optimizer_step = callbacks.calls("before_optimizer_step")
        self._at_step_end = callbacks.calls("step_end")

    def run(self) -> None:
        """Run to the last epoch, to an early end or to a stop, from wherever the state is.

        Raises LossIsNotFinite, and what essential callbacks raise.
        """
        state = self.state
        if self.smaller_batch is not None:
            self._before_step = BeforeStep(state)
        self.notify("fit_start")
        try:
            while state.finished_epochs < state.epochs and (state.batch or not state.finish_early):
                self._epoch()
        except Stopped:
            state.stopped = True
        self.notify("fit_end")

    def notify(self, event: str) -> None:
        """Announce an event to the callbacks."""
        self.callbacks.notify(event, self.state)

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything of the run as it is between two steps: see `saved`.

        Raises LossIsNotFinite rather than keep a lost run, and RuntimeError between the batches of one step.
        """
        if self._within_step:
            raise RuntimeError("A snapshot is of the time between two steps; this is between the batches of one.")
        self._read()
        self._refuse_lost_weights()
        return saved(self.state, self.callbacks.state_dicts())

    def _epoch(self) -> None:
        state = self.state
        began = time.perf_counter()
        state.epoch = state.finished_epochs + 1
        state.row = {}
        try:
            state.model.train()
            self.notify("epoch_start")
            self._lay_out_batches()
            # one that was saved within the epoch that it ends with has no batch left to do
            while state.batch < self._batches_an_epoch and not (state.finish_early and state.batch):
                self._step()
                for call in self._at_batch_end:
                    call(state)
                if self.settings.validate_within is not None:
                    self._validate_within(self.settings.validate_within)
                if self.control.attention:
                    self._rest()
                if state.checkpoint_wanted:
                    state.checkpoint_wanted = False
                    self.notify("checkpoint_wanted")
            self._read()
            lr = self._rate(state.step - 1)
            state.row = {"train/loss": state.loss_sum / max(1, state.loss_count), **self._validated(), "lr": lr}
            state.row["seconds"] = time.perf_counter() - began
        except BaseException:
            # a stop in mid-epoch leaves state.epoch at the last finished one, as a checkpoint of it says
            state.epoch = state.finished_epochs
            raise
        state.finished_epochs = state.epoch
        state.batch, state.loss_sum, state.loss_count = 0, 0.0, 0
        self.notify("epoch_end")
        if self.control.attention:
            self._rest()

    def _lay_out_batches(self) -> None:
        """The batches of the epoch under way that are still to come."""
        state, settings = self.state, self.settings
        order = (settings.seed, state.finished_epochs)
        if settings.accumulate > 1:
            assert settings.row_weights is not None
            self._shares = shares_of_steps(self.train.rows_of_epoch(order), settings.row_weights, settings.accumulate)
        self._batches_an_epoch = len(self.train)
        self._batches = self.train.epoch(order, settings.augment, state.generator, start=state.batch)

    def _rate(self, step: int) -> float:
        peak: float = self.state.optimizer.param_groups[0]["peak"]
        return peak * self._share(step)

    def _share(self, step: int) -> float:
        state = self.state
        share = self.settings.schedule.share(step, total_steps=state.total_steps, steps_per_epoch=state.steps_per_epoch)
        return share * state.lr_factor

    def _step(self) -> None:
        """One step of the optimiser: the gradients of its batches, and what they change."""
        state = self.state
        loss = self._with_room(self._gradients)
        rate_share = self._share(state.step)
        groups = state.optimizer.param_groups
        for group in groups:
            group["lr"] = group["peak"] * rate_share
        for call in self._before_optimizer_step:
            call(state)
        self.step.update()
        state.step += 1
        self._unread.append((state.step, loss, groups[0]["lr"]))
        for call in self._at_step_end:
            call(state)
        if time.perf_counter() - self._read_at > READ_EVERY_SECONDS:
            self._read()

    def _gradients(self) -> Tensor:
        """Add up the gradients of the batches of a step; gives its loss `()`, still on the device."""
        state, mixing = self.state, self.settings.mixing
        if self._before_step is not None:
            self._before_step.keep()
        self._within_step, of_step = True, None
        while True:
            batch = next(self._batches)
            share = None if self._shares is None else self._shares[state.batch]
            if mixing is None:
                loss = self.step.backward(batch, share)
            else:
                batch, partners, own = self._mixed(batch)
                loss = self.step.backward(batch, share, (partners, own))
            state.batch += 1
            state.samples += len(batch)
            of_step = loss if of_step is None else of_step + loss
            if share is None or not state.batch % self.settings.accumulate or state.batch >= self._batches_an_epoch:
                self._within_step = False
                return of_step
            for call in self._at_batch_end:  # a step is one thing: nobody else is heard between its batches
                call(state)

    def _with_room(self, work: Callable[[], T]) -> T:
        """What `work` gives; where memory runs out in it, it is done again with smaller batches, if the run may have them."""
        while True:
            try:
                return work()
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                smaller = self.smaller_batch(error) if self.smaller_batch and is_out_of_memory(error) else None
                if smaller is None:
                    raise
            # not in the `except`: the traceback holds what took the memory
            self._take_smaller_batches(smaller)

    def _take_smaller_batches(self, smaller: dict[str, Any]) -> None:
        """Go on from the last step that was done, as a run does that begins from its checkpoint with these settings."""
        state, before = self.state, self.settings.accumulate
        if self._within_step:
            assert self._before_step is not None
            self._before_step.put_back()
            self._within_step = False
        for parameter in self.step.parameters:
            parameter.grad = None
        self._batches = iter(())
        gc.collect()  # a model refers to itself
        torch.cuda.empty_cache()
        accumulate = smaller["accumulate_grad_batches"]
        for source in (self.train, self.val):
            source.batch_size //= accumulate // before
        self.settings = replace(self.settings, accumulate=accumulate)
        state.recount_batches(before, accumulate)
        self._lay_out_batches()
        state.changes, state.refused = smaller, {}
        self.notify("changed")
        # what goes on from here after a kill is then the same to the bit
        self.notify("checkpoint_wanted")

    def _mixed(self, batch: Batch) -> tuple[Batch, Tensor, float]:
        state, mixing = self.state, self.settings.mixing
        assert mixing is not None
        rng = np.random.default_rng((self.settings.seed, state.finished_epochs, state.batch, MIXING_STREAM))
        return mixing(batch, self.train.presence(batch.rows), rng)

    def _validated(self) -> dict[str, float]:
        state = self.state
        last = state.finish_early or state.epoch >= state.epochs
        if state.epoch % self.settings.validate_every and not last:
            return {}
        return self._metrics()

    def _validate_within(self, every: int) -> None:
        state = self.state
        if state.batch // self.settings.accumulate % every or state.batch >= self._batches_an_epoch:
            return
        self._read()
        state.row = self._metrics()
        self.notify("validated")
        state.row = {}

    def _metrics(self) -> dict[str, float]:
        state = self.state
        metrics = self._with_room(lambda: self.validate(state.judged, self.val, self.settings.autocast))
        if not math.isfinite(metrics["val/loss"]):
            # the weights are lost although the last step's loss was not: they must not become a checkpoint
            raise LossIsNotFinite(state.step, state.epoch, metrics["val/loss"], of="The validation loss")
        return metrics

    def _read(self) -> None:
        if not self._unread:
            return
        state = self.state
        steps, tensors, rates = zip(*self._unread, strict=True)
        self._unread = []
        values = torch.stack(tensors).tolist()
        lost = next((k for k, value in enumerate(values) if not math.isfinite(value)), len(values))
        for value in values[:lost]:
            # one by one: the sum does not depend on when it was read
            state.loss_sum += value
        state.loss_count += lost
        if lost:
            state.read_losses = list(zip(steps[:lost], values[:lost], rates[:lost], strict=True))
            self.notify("losses")
        if lost < len(values):
            raise LossIsNotFinite(steps[lost], state.epoch, values[lost])
        self._read_at = time.perf_counter()

    def _refuse_lost_weights(self) -> None:
        """A step may lose the weights although its loss was finite: they must not become a checkpoint."""
        with torch.no_grad():
            largest = torch.stack(torch._foreach_norm(list(self.state.model.parameters()), math.inf)).max().item()
        if not math.isfinite(largest):
            raise LossIsNotFinite(self.state.step, self.state.epoch, largest, of="A weight")

    def _rest(self) -> None:
        self._read()
        try:
            self.control.obey(self._pause, self._go_on)
        except (Stopped, Abandoned):
            # in a pause: it was saved before, so it may end where the device has no room for it any longer
            with suppress(torch.OutOfMemoryError):
                self.parking.come_back()
            raise
        self.state.checkpoint_wanted |= self.control.take_checkpoint()
        changes = self.control.take_changes()
        if changes:
            self._change(changes)

    def _pause(self) -> None:
        if self.state.batch:  # after an epoch there is one
            # a pause may last, its process may not, and the device may have no room later: nothing is lost
            self.notify("checkpoint_wanted")
        self._batches = iter(())  # the last one would stay on the device
        self.parking.leave()
        self.notify("paused")

    def _go_on(self) -> None:
        self.parking.come_back()
        self._lay_out_batches()
        self.notify("resumed")

    def _change(self, changes: dict[str, Any]) -> None:
        state = self.state
        for group in state.optimizer.param_groups:
            group["peak"] = changes.get("encoder_lr" if group["of_encoders"] else "lr", group["peak"])
        # the epoch under way is finished in any case
        state.epochs = max(changes.get("epochs", state.epochs), state.epoch)
        if any(part.split(".")[0] == "image_encoder" for part in changes.get("unfreeze", ())):
            for source in (self.train, self.val):  # its features change from here on
                source.read_images()
        state.changes, state.refused = changes, {}
        self.notify("changed")
