"""From settings and batches to a loop that is ready to run."""

from __future__ import annotations

import torch

from medfusion_jupyter.training.attention import pools_its_map, validate_with_attention
from medfusion_jupyter.training.averaging import WeightAverage, average_of
from medfusion_jupyter.training.callbacks import Callback, Callbacks
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.control import Control
from medfusion_jupyter.training.devices import autocast, gradient_scaler
from medfusion_jupyter.training.fitting import fitted
from medfusion_jupyter.training.freezing import Freezing, last_frozen_epochs
from medfusion_jupyter.training.host_memory import FreedMemory
from medfusion_jupyter.training.loop import Loop, LoopSettings
from medfusion_jupyter.training.mixing import Mixing
from medfusion_jupyter.training.objective import loss_of_parts, mixed_loss, to_device
from medfusion_jupyter.training.optimizers import build_optimizer
from medfusion_jupyter.training.preparation import Prepared
from medfusion_jupyter.training.schedule import Schedule
from medfusion_jupyter.training.starting_weights import new_model
from medfusion_jupyter.training.state import LoopState
from medfusion_jupyter.training.step import Step, channels_last
from medfusion_jupyter.training.stopping import BestEpoch, EarlyStopping, MaxTime, Plateau


def build_state(prepared: Prepared, config: TrainingConfig, device: str, *, restored: bool = False) -> LoopState:
    """A new model with its optimiser, at the start of its run. Draws the weights from torch's generator.

    Its head knows the targets of the training part. restored: its weights come from a checkpoint, so that it needs none to start
    from.
    """
    model = new_model(prepared.architecture, None if restored else config.image_weights)
    model.head.fit(prepared.targets[torch.from_numpy(prepared.train.rows)])
    model.to(device)
    for encoder in model.image_encoders:
        encoder.recompute = config.gradient_checkpointing
        if config.channels_last:
            encoder.to(memory_format=channels_last(2 + encoder.dimensions))
    if config.sync_batchnorm:
        _refuse_absent_images(prepared)
        # in place, with the parameters and the names that they had: a checkpoint does not know of it
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return LoopState(
        model=model,
        optimizer=build_optimizer(model, config),
        generator=torch.Generator(device).manual_seed(config.seed),
        epochs=config.epochs,
        steps_per_epoch=-(-len(prepared.train) // config.accumulate_grad_batches),
        ema=None if config.ema_decay is None else average_of(model),
        scaler=gradient_scaler(device, config.precision),
    )


def _refuse_absent_images(prepared: Prepared) -> None:
    """Every device waits for the statistics of all the others: one whose rows have no image would have none to give."""
    rows = prepared.train.rows
    of_images = [name != "table" for name in prepared.architecture.modalities]
    absent = int((~prepared.train.presence(rows)[:, of_images]).any(axis=1).sum())
    if absent:
        raise ConfigError(
            f"sync_batchnorm needs the images of every row, and {absent} of the {len(rows)} training rows lack one. Leave those "
            "rows out, or leave sync_batchnorm out: each GPU then normalises over the images of its own rows."
        )


def build_loop(
    state: LoopState,
    prepared: Prepared,
    config: TrainingConfig,
    device: str,
    callbacks: Callbacks,
    control: Control,
) -> Loop:
    """The loop over `state` that the settings ask for."""
    if config.attention_supervision and not pools_its_map(state.model.image_encoders[0]):
        raise ConfigError(
            f"attention_supervision needs an image encoder that pools its map, and {config.image_encoder!r} sums up in a "
            "token of its own; choose another, such as 'resnet18'."
        )
    mixing = Mixing(config.mixup, config.cutmix) if config.mixup or config.cutmix else None
    head, weights = state.model.head, to_device(prepared.class_weights, device)
    step = Step(
        state.model,
        state.optimizer,
        loss_of_parts(head, label_smoothing=config.label_smoothing, class_weights=weights),
        mixed_loss=None
        if mixing is None
        else mixed_loss(head, label_smoothing=config.label_smoothing, class_weights=weights.get("")),
        autocast=autocast(device, config.precision),
        scaler=state.scaler,
        clip=config.gradient_clip_val,
        compiled=config.compile,
        channels_last=config.channels_last,
        attention=config.attention_supervision,
    )
    if "" in prepared.class_weights:
        row_weights = prepared.class_weights[""][prepared.targets.numpy()].astype(float)
    else:
        row_weights = head.row_counts(prepared.targets).numpy().astype(float)
    settings = LoopSettings(
        seed=config.seed,
        autocast=step.autocast,
        schedule=Schedule.of(config),
        augment=config.augment,
        mixing=mixing,
        accumulate=config.accumulate_grad_batches,
        row_weights=row_weights,
        validate_every=config.check_val_every_n_epoch,
        validate_within=_steps(config.val_check_interval, state.steps_per_epoch),
    )
    loop = Loop(state, step, prepared.train, prepared.val, settings, callbacks, control)
    if config.attention_supervision:
        loop.validate = validate_with_attention
    return loop


def _steps(count_or_share: float | None, steps_per_epoch: int) -> int | None:
    if count_or_share is None:
        return None
    if count_or_share > steps_per_epoch:
        raise ConfigError(
            f"val_check_interval={count_or_share:g} is more than the {steps_per_epoch} steps of an epoch, so that it would never "
            "validate within one: give fewer steps, a share below 1, or leave it out."
        )
    return int(count_or_share) if count_or_share >= 1 else max(1, round(count_or_share * steps_per_epoch))


def callbacks_of(config: TrainingConfig, state: LoopState) -> list[Callback]:
    """The callbacks that the settings ask for, those that judge an epoch after those that shape it."""
    config = fitted(config, {name: head.task for name, head in state.model.head.parts.items()})
    callbacks: list[Callback] = [FreedMemory()]
    if config.freeze:
        callbacks.append(Freezing(state.model, last_frozen_epochs(config), config.unfreeze))
    if config.ema_decay is not None:
        callbacks.append(WeightAverage(config.ema_decay))
    callbacks += [BestEpoch(config.watch), EarlyStopping(config.watch, config.patience, config.min_delta)]
    if config.schedule == "plateau":
        callbacks.append(
            Plateau(
                config.watch,
                factor=0.1 if config.plateau_factor is None else config.plateau_factor,
                patience=5 if config.plateau_patience is None else config.plateau_patience,
                threshold=1e-4 if config.plateau_threshold is None else config.plateau_threshold,
            )
        )
    if config.max_time is not None:
        callbacks.append(MaxTime(60 * config.max_time))
    return callbacks
