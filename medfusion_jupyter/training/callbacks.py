"""What happens beside the steps: the loop announces events, callbacks act on them.

A callback defines the methods it wants; each is given the LoopState. The order of events:
`fit_start`, then for each epoch `epoch_start`, `batch_end` after each step, `losses` when step losses have been read from
the device, `epoch_end` after validation; `paused`, `resumed` and `changed` between batches; `fit_end` last, also after a stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medfusion_jupyter.training.config import WATCHABLE

if TYPE_CHECKING:
    from medfusion_jupyter.training.loop import LoopState


class Callback:
    """Does nothing on every event; override what you need."""

    def fit_start(self, state: LoopState) -> None:
        """Before the first step of this run; state.epoch is the last finished epoch."""

    def epoch_start(self, state: LoopState) -> None:
        """Before the first step of state.epoch."""

    def batch_end(self, state: LoopState) -> None:
        """After the optimiser's step state.step. Called often: keep it to a few instructions."""

    def losses(self, state: LoopState) -> None:
        """state.read_losses holds (step, loss, learning rate) of the steps since the last such event."""

    def epoch_end(self, state: LoopState) -> None:
        """After validation; state.row holds the epoch's metrics."""

    def paused(self, state: LoopState) -> None:
        """The run has come to rest between two batches."""

    def resumed(self, state: LoopState) -> None:
        """The run goes on."""

    def changed(self, state: LoopState) -> None:
        """state.changes holds settings that were changed while the run went on; they hold from the next batch on."""

    def fit_end(self, state: LoopState) -> None:
        """After the last epoch, or after a stop."""


class BestEpoch(Callback):
    """Notes in the state which epoch has the best watched metric, and ends the run when it has not improved for long.

    patience: epochs without improvement after which `state.finish_early` is set; None never.
    """

    def __init__(self, watch: str, patience: int | None) -> None:
        self.watch = watch
        self.sign = 1.0 if WATCHABLE[watch] == "max" else -1.0
        self.patience = patience

    def changed(self, state: LoopState) -> None:
        self.patience = state.changes.get("patience", self.patience)

    def epoch_end(self, state: LoopState) -> None:
        value = state.row[self.watch]
        # a metric that is not defined (nan) never beats one that is
        better = state.best_value is None or self.sign * value > self.sign * state.best_value
        if better or state.best_value != state.best_value:
            state.best_epoch, state.best_value = state.epoch, value
        if self.patience is not None and state.epoch - (state.best_epoch or 0) >= self.patience:
            state.finish_early = True
