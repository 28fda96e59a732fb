"""Fitting a configuration to what a cohort is learned for: its head, its watched metric, and what that target allows."""

from __future__ import annotations

import numpy as np
import torch

from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.nn import heads
from medfusion_jupyter.settings.watched import METRICS_OF
from medfusion_jupyter.training.config import ConfigError, TrainingConfig

HEADS = {
    "classification": "classification",
    "multilabel": "multilabel",
    "ordinal": "ordinal",
    "regression": "regression",
    "survival": "cox",
}
"""The head of each task where nothing else is said."""


def fitted(config: TrainingConfig, task: str) -> TrainingConfig:
    """The configuration with a head and a watched metric of `task` in place of "auto".

    Raises ConfigError for a head that learns another target, a metric that the target does not have, and settings of classes
    where there are none.
    """
    head = HEADS[task] if config.head == "auto" else config.head
    watch = f"val/{METRICS_OF[task][0]}" if config.watch == "auto" else config.watch
    learned = getattr(heads(head), "task", None)
    if learned != task:
        able = ", ".join(name for name in heads if getattr(heads(name), "task", None) == task)
        raise ConfigError(f"head={head!r} learns another target ({learned}) than this of {task}; choose one of {able}.")
    allowed = ["val/loss", *(f"val/{name}" for name in METRICS_OF[task])]
    if watch not in allowed:
        raise ConfigError(f"watch={watch!r} is no metric of a target of {task}; watch one of {', '.join(allowed)}.")
    if config.sampler == "balanced" and task not in ("classification", "ordinal"):
        raise ConfigError(f"sampler='balanced' draws each class as often, and a target of {task} has no classes.")
    if config.attention_supervision and task != "classification":
        raise ConfigError(f"attention_supervision is of classes, and the target is one of {task}.")
    config = config.model_copy(update={"head": head, "watch": watch})
    try:
        config.check_head()
    except ValueError as refused:
        raise ConfigError(f"{refused}.") from None
    return config


def refuse_unseen(split: Split) -> None:
    """Raise ConfigError where validation or test have a class, a grade, a finding or events that training has not one of."""
    for stratum in split.cohort.target.strata(split.cohort.targets):
        there = [part for part, rows in split.rows.items() if stratum.rows[rows].any()]
        if stratum.needed and there and "train" not in there:
            raise ConfigError(
                f"{stratum.name!r} of the target {split.cohort.target.name!r} is in the part {there[0]!r}, but in no row of the "
                "training part: what was never seen cannot be learned. Split so that every part has it, or leave it out."
            )


def targets_of(cohort: Cohort) -> torch.Tensor:
    """What a head's loss takes of every row of a cohort: `(N,)` int64 of classes and grades, else float32 `(N,)` or `(N, W)`."""
    return torch.tensor(cohort.targets, dtype=torch.int64 if cohort.targets.dtype == np.int64 else torch.float32)
