"""Parts of a model that do not learn, for the whole run or up to an epoch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from medfusion_jupyter.nn import FusionModel
from medfusion_jupyter.nn.image_encoders import build_image_encoder
from medfusion_jupyter.training.callbacks import Callback
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.generators import generators_kept

if TYPE_CHECKING:
    from medfusion_jupyter.training.state import LoopState


def refuse_unknown_parts(config: TrainingConfig, names: Sequence[str], setting: str) -> None:
    """Raise ConfigError, with the closest name, where `setting` names a module that the image encoder does not have.

    It is built for that, and only where there is a name within it. What the other parts are made of depends on the cohort: a name
    within them is looked up when the run has its model.
    """
    within = [name for name in names if name.startswith("image_encoder.")]
    if not within or config.image_encoder is None or not config.shared_encoder:
        return
    with generators_kept():
        part = nn.ModuleDict(
            {"image_encoder": build_image_encoder(config.image_encoder, channels=1, size=config.image_size)}
        )
    for name in within:
        module_of(part, name, setting)


def module_of(model: nn.Module, part: str, setting: str = "freeze") -> nn.Module:
    """The module that `setting` names so. Raises ConfigError where the model has none, with the closest name."""
    name = part.replace("tabular_encoder", "table_encoder", 1)
    try:
        return model.get_submodule(name)
    except AttributeError:
        there = [one.replace("table_encoder", "tabular_encoder", 1) for one, _ in model.named_modules() if one]
        near = difflib.get_close_matches(part, there, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{setting} names {part!r}, which this model does not have.{hint}") from None


def last_frozen_epochs(config: TrainingConfig) -> dict[str, int | None]:
    """The last epoch in which each part of `freeze` does not learn; None where it never does."""
    until = config.unfreeze_epoch
    if isinstance(until, int):
        return dict.fromkeys(config.freeze, until - 1)
    return {part: None if until is None or part not in until else until[part] - 1 for part in config.freeze}


class Freezing(Callback):
    """Keeps parts from learning: no gradients, and dropout and batch norm as in prediction, so that their statistics stay.

    Every parameter is in the optimiser from the start; one without a gradient is passed over by it. What is frozen in an epoch
    follows from the epoch and the settings alone. thawed: parts that learn in any case.
    """

    essential = True

    def __init__(self, model: FusionModel, last_frozen: Mapping[str, int | None], thawed: Sequence[str] = ()) -> None:
        self.last_frozen = last_frozen
        self.parts = self._parts(model, thawed)

    def _parts(self, model: FusionModel, thawed: Sequence[str]) -> list[tuple[nn.Module, int | None]]:
        modules = {part: module_of(model, part) for part in self.last_frozen}
        modules |= {part: module_of(model, part, "unfreeze") for part in thawed}
        last: dict[str, int | None] = {**self.last_frozen, **dict.fromkeys(thawed, 0)}
        # by name: a part within another comes after it, and has the last word
        return [(modules[part], last[part]) for part in sorted(last)]

    def epoch_start(self, state: LoopState) -> None:
        for module, last in self.parts:
            frozen = last is None or state.epoch <= last
            module.requires_grad_(not frozen)
            module.train(not frozen)

    def changed(self, state: LoopState) -> None:
        if "unfreeze" not in state.changes:
            return
        try:
            self.parts = self._parts(state.model, state.changes["unfreeze"])
        except ConfigError as unknown:
            # who asked did not have the model: its own modules are named
            state.refused["unfreeze"] = str(unknown)
            del state.changes["unfreeze"]
            return
        self.epoch_start(state)
