"""Forks: a job that begins from a checkpoint of another one, with other settings."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from medfusion_jupyter.nn import Architecture, FusionModel
from medfusion_jupyter.settings.forking import OF_THE_BATCHES, changes_between, settings_of_fork
from medfusion_jupyter.training.checkpoints import Checkpoint, CheckpointError, read_checkpoint, refuse_other_model
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.generators import generators_kept
from medfusion_jupyter.training.input_spec import InputSpec
from medfusion_jupyter.training.optimizers import parameter_names
from medfusion_jupyter.training.state import LoopState, restore

if TYPE_CHECKING:
    from medfusion_jupyter.store import Job, Store
    from medfusion_jupyter.store.checkpoints import Checkpoint as CheckpointRecord

COUNTED_ANEW = ("EarlyStopping", "MaxTime")
"""Callbacks of ours whose patience and time are those of the fork alone."""

OF_THE_RATE = frozenset({"lr", "schedule", "plateau_factor", "plateau_patience", "plateau_threshold", "watch"})


@dataclass(frozen=True)
class ForkPlan:
    """What a fork is to be: of which job, from which of its checkpoints, with which settings."""

    parent: Job
    checkpoint: CheckpointRecord
    config: TrainingConfig


def plan_fork(
    store: Store, job_id: str, *, epoch: int | None, step: int | None, changes: Mapping[str, Any]
) -> ForkPlan:
    """The fork from the checkpoint that `Checkpoints.choose` gives, with changes of the parent's settings.

    Raises ConfigError for a change that the checkpoint does not allow, BadValue where there is no such checkpoint, and
    CheckpointError where it cannot be read.
    """
    parent = store.jobs.get(job_id)
    chosen = store.checkpoints.choose(job_id, epoch=epoch, step=step)
    settings = settings_of_fork(
        parent.training_config, changes, epoch=chosen.epoch, within_epoch=not chosen.finishes_epoch
    )
    config = TrainingConfig.of({**settings, "name": changes.get("name"), "description": changes.get("description", "")})
    _refuse_unfit(read_checkpoint(Path(chosen.checkpoint_path)), config)
    return ForkPlan(parent, chosen, config)


def store_fork(store: Store, plan: ForkPlan, versions: Mapping[str, str]) -> Job:
    """Store a planned fork as a pending job. Raises NotYours, and BadValue where the checkpoint is gone meanwhile."""
    parent, config = plan.parent, plan.config
    training_config = {**config.model_dump(mode="json"), **parent.model_config}
    return store.jobs.fork(
        parent.job_id,
        plan.checkpoint,
        training_config=training_config,
        changes=changes_between(parent.training_config, training_config),
        name=config.name,
        description=config.description,
        versions=versions,
    )


def _refuse_unfit(checkpoint: Checkpoint, config: TrainingConfig) -> None:
    """An encoder may have weights of another shape for images of another size."""
    architecture = Architecture.from_json(checkpoint.description["architecture"])
    if architecture.image_size == config.image_size:
        return
    with generators_kept():
        model = FusionModel(replace(architecture, image_size=config.image_size))
    try:
        refuse_other_model(checkpoint, model.state_dict())
    except CheckpointError as refused:
        raise ConfigError(f"image_size={config.image_size} does not fit. {refused}") from None


def input_of(checkpoint: Checkpoint, config: TrainingConfig) -> InputSpec:
    """What the checkpoint's model takes; a fork may have its images in another size."""
    return replace(InputSpec.from_json(checkpoint.description["input"]), image_size=config.image_size)


def begin_from(
    checkpoint: Checkpoint, state: LoopState, config: TrainingConfig, job_id: str, *, completed: bool
) -> dict[str, Any]:
    """As `restore`, for a run of `job_id`: a checkpoint of another job is the beginning of a fork.

    completed: whether the run before this one had come to its end. One that was broken off between the checkpoint of an early end
    and that end has nothing left to train; one that was completed is to go on, and so is one that was given other epochs.
    """
    if checkpoint.description.get("job_id", job_id) != job_id:
        checkpoint = beginning_of_fork(checkpoint, state, config)
    states = restore(checkpoint, state)
    longer = checkpoint.description["config"].get("epochs", config.epochs) != config.epochs
    state.finish_early = state.finish_early and not (completed or longer)
    # the place lies between two steps, which may have other batches of the same rows now
    before, now = checkpoint.description["config"].get("accumulate_grad_batches", 1), config.accumulate_grad_batches
    state.recount_batches(before, now)
    return states


def beginning_of_fork(checkpoint: Checkpoint, state: LoopState, config: TrainingConfig) -> Checkpoint:
    """A parent's checkpoint as `restore` puts it into the new `state` of its fork.

    Weights, their average and, unless it is another optimiser, its state are as they were; so are the generators, unless the
    seed is another. The best epoch, patience and time are counted from the fork on. The learning rate is where the fork's
    schedule has it at this place of the run.
    """
    description = dict(checkpoint.description)
    before, now = description["config"], config.model_dump(mode="json")
    changed = {name for name, value in now.items() if before.get(name, value) != value}
    if changed & set(OF_THE_BATCHES) and not description.get("batch"):
        # steps of another length: its place in the run is that of its epochs
        description["step"] = description["epoch"] * state.steps_per_epoch
    value = description.get("metrics", {}).get(config.watch)
    description["best_epoch"], description["best_value"] = (
        (None, None) if value is None else (description["epoch"], value)
    )
    description["finish_early"] = False
    forgotten = set(COUNTED_ANEW)
    if changed & OF_THE_RATE:
        description["lr_factor"] = 1.0
        forgotten.add("Plateau")
    if "precision" in changed:
        description["scaler"] = None
    callbacks = description.get("callbacks", {}).get("dict", {})
    description["callbacks"] = {"dict": {key: kept for key, kept in callbacks.items() if key not in forgotten}}
    tensors = _tensors(checkpoint, state.model, before, config, changed)
    return replace(checkpoint, tensors=tensors, description=description)


def _tensors(
    checkpoint: Checkpoint, model: FusionModel, before: dict[str, Any], config: TrainingConfig, changed: Set[str]
) -> dict[str, Tensor]:
    left_out = [
        section for section, setting in (("optimizer/", "optimizer"), ("generator/", "seed")) if setting in changed
    ]
    tensors = {key: value for key, value in checkpoint.tensors.items() if not key.startswith(tuple(left_out))}
    if "encoder_lr" not in changed or "optimizer" in changed:
        return tensors
    # with a rate of their own the encoders' parameters have other numbers
    names = parameter_names(model, config.model_copy(update={"encoder_lr": before["encoder_lr"]}))
    numbers = {name: number for number, name in enumerate(parameter_names(model, config))}
    renumbered = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, number, slot = key.split("/")
            key = f"optimizer/{numbers[names[int(number)]]}/{slot}"
        renumbered[key] = value
    return renumbered
