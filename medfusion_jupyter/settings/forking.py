"""The settings of a fork: those of the job that it begins from, with what may be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medfusion_jupyter.settings.training import ONLY_WITH, ConfigError, TrainingSettings

FIXED = {
    "image_encoder": "the checkpoint's weights are of it",
    "tabular_encoder": "the checkpoint's weights are of it",
    "fusion": "the checkpoint's weights are of it",
    "head": "the checkpoint's weights are of it",
    "task_heads": "the checkpoint's weights are of them",
    "shared_encoder": "the checkpoint's weights are of it",
    "bag": "the checkpoint's weights are of it",
    "spacing": "a fork sees its volumes as its parent did",
    "image_weights": "a fork begins with the weights of the checkpoint",
    "val": "a fork has the split of its parent",
    "test": "a fork has the split of its parent",
}
"""What a fork has of its parent, and why."""

OF_THE_BATCHES = ("batch_size", "accumulate_grad_batches", "sampler", "seed")
"""What the batches of an epoch depend on."""


def settings_of_fork(
    parent: Mapping[str, Any], changes: Mapping[str, Any], *, epoch: int, within_epoch: bool
) -> dict[str, Any]:
    """The keywords of a fork. parent: the settings of the job, as they were stored; epoch: finished ones of the checkpoint.

    within_epoch: whether it was made within the next one. A setting that would do nothing after the changes goes back to its
    default. Raises ConfigError for a change that the checkpoint does not allow.
    """
    fixed = next((name for name in changes if name in FIXED and changes[name] != parent.get(name)), None)
    if fixed is not None:
        raise ConfigError(f"{fixed}={changes[fixed]!r} cannot be changed in a fork: {FIXED[fixed]}.")
    moved = next((name for name in OF_THE_BATCHES if name in changes and changes[name] != parent.get(name)), None)
    if moved is not None and within_epoch:
        raise ConfigError(
            f"{moved}={changes[moved]!r} changes the batches of an epoch, and this checkpoint was made within one: fork from "
            "one that was made after an epoch."
        )
    idle = [
        name
        for name, (other, value) in ONLY_WITH.items()
        if name not in changes and other in changes and changes[other] != value
    ]
    settings = {**{name: value for name, value in parent.items() if name not in idle}, **changes}
    epochs = settings.get("epochs", TrainingSettings.model_fields["epochs"].default)
    if isinstance(epochs, int) and epochs <= epoch:
        raise ConfigError(
            f"epochs={epochs}, and the checkpoint has {epoch} finished epochs: nothing is left to train. Give more epochs."
        )
    return settings


def changes_between(parent: Mapping[str, Any], fork: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`{"from": …, "to": …}` by the name of each setting that differs; both as they are stored."""
    # an older job may lack a setting: it was trained with what is the default now
    before = {**TrainingSettings().model_dump(mode="json"), **parent}
    return {
        name: {"from": before.get(name), "to": value}
        for name, value in fork.items()
        if name not in ("name", "description") and before.get(name) != value
    }
