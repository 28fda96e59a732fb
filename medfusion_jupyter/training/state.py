"""Where a run is: all of it, so that what is saved from here and put back goes on to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from medfusion_jupyter.nn import FusionModel
from medfusion_jupyter.training.checkpoints import (
    Checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    refuse_other_model,
    with_tensors,
    without_tensors,
)
from medfusion_jupyter.training.generators import generator_tensors, load_generator_tensors

SAVED = (
    "batch",
    "step",
    "loss_sum",
    "loss_count",
    "lr_factor",
    "best_epoch",
    "best_value",
    "finish_early",
)
"""Fields that a checkpoint's description holds under their names, beside `epoch`, the finished ones."""


@dataclass
class LoopState:
    """Where a run is. Callbacks read it; they write `best_…`, `lr_factor`, `finish_early`, `checkpoint_wanted`, and no more.

    model: what learns; ema: the moving average of its weights, or None; generator: that of the augmentation.
    epochs, steps_per_epoch: the run's length; a step is one of the optimiser, after `accumulate_grad_batches` batches.
    finished_epochs, batch: the place: batches done of the epoch under way, 0 between epochs. The order of an epoch's batches
    is a function of seed and epoch, so these two numbers are all there is to the sampler.
    epoch: the number of the epoch under way, from 1, or of the last finished one. step: steps done.
    samples: rows seen by this run. loss_sum, loss_count: of the steps of the epoch under way.
    lr_factor: what schedule='plateau' has made of the rate. row: the last epoch's metrics; those of validation are not in
    it where the epoch was not validated. read_losses: (step, loss, learning rate), see `Callback.losses`.
    finish_early: end the epoch after the batch under way, validate, save and complete the run. checkpoint_wanted: save when
    the step under way is done. stopped: it was told to stop.
    changes: settings of the last live change; refused: those of them that this model does not allow, with the reason.
    """

    model: FusionModel
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    epochs: int
    steps_per_epoch: int
    ema: FusionModel | None = None
    scaler: torch.amp.GradScaler | None = None
    finished_epochs: int = 0
    batch: int = 0
    epoch: int = 0
    step: int = 0
    samples: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    lr_factor: float = 1.0
    row: dict[str, float] = field(default_factory=dict)
    read_losses: list[tuple[int, float, float]] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    finish_early: bool = False
    checkpoint_wanted: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    stopped: bool = False

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def recount_batches(self, before: int, now: int) -> None:
        """Give the place, which lies between two steps, in other batches of the same steps: `before` and `now` make one."""
        if now != before:
            self.batch = -(-self.batch // before) * now  # an epoch's last step may have fewer batches

    @property
    def judged(self) -> FusionModel:
        """The model that is validated and kept: the average where there is one."""
        return self.model if self.ema is None else self.ema


def saved(state: LoopState, callbacks: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything of a run: its tensors by the names of a checkpoint, and the rest as JSON.

    callbacks: what each callback's `state_dict` gave, by its key. Losses that were not yet read are not in it: see
    `Loop.snapshot`. The tensors are those of the run itself: copy or write them before they change.
    """
    tensors = {f"model/{name}": value for name, value in state.model.state_dict().items()}
    if state.ema is not None:
        tensors |= {f"ema/{name}": value for name, value in state.ema.state_dict().items()}
    tensors |= {f"optimizer/{key}": value for key, value in optimizer_tensors(state.optimizer).items()}
    tensors |= {f"generator/{key}": value for key, value in generator_tensors().items()}
    tensors["generator/augment"] = state.generator.get_state()
    description: dict[str, Any] = {name: getattr(state, name) for name in SAVED}
    description["epoch"] = state.finished_epochs
    description["scaler"] = None if state.scaler is None else state.scaler.state_dict()
    description["callbacks"], of_callbacks = without_tensors(dict(callbacks))
    tensors |= {f"callbacks/{key}": value for key, value in of_callbacks.items()}
    return tensors, description


def changed_by_steps_alone(state: LoopState, tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of those of `saved`'s tensors that rest until the optimiser's next step: not batch norms' statistics, which each
    batch moves, and not what callbacks keep.
    """
    weights = {f"model/{name}" for name, _ in state.model.named_parameters()}
    return [name for name in tensors if name in weights or name.startswith(("ema/", "optimizer/"))]


def restore(checkpoint: Checkpoint, state: LoopState) -> dict[str, Any]:
    """Put a checkpoint into a state that was built by the same settings; gives the states of the callbacks by their keys.

    The generators of the process are set as well, so this is the last thing before the loop goes on. Raises CheckpointError,
    with the difference, for a checkpoint of another model.
    """
    description = checkpoint.description
    refuse_other_model(checkpoint, state.model.state_dict())
    state.model.load_state_dict(checkpoint.section("model"))
    if state.ema is not None:
        state.ema.load_state_dict(checkpoint.section("ema") or checkpoint.section("model"))
    load_optimizer_tensors(state.optimizer, checkpoint.section("optimizer"))
    if state.scaler is not None and description.get("scaler"):
        state.scaler.load_state_dict(description["scaler"])
    state.finished_epochs = state.epoch = description["epoch"]
    for name in SAVED:
        if name in description:  # a checkpoint of format 1 has fewer
            setattr(state, name, description[name])
    generators = checkpoint.section("generator")
    if generators:  # those of a fork with another seed begin anew
        state.generator.set_state(generators["augment"])
    load_generator_tensors(generators)
    states: dict[str, Any] = with_tensors(description.get("callbacks", {}), checkpoint.section("callbacks"))
    return states
