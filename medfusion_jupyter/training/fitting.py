"""Fitting a configuration to what a cohort is learned for: its head, its watched metric, and what that target allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.data.targets import TaskValues
from medfusion_jupyter.data.training_part import unseen_strata
from medfusion_jupyter.nn import heads
from medfusion_jupyter.settings.watched import names_of
from medfusion_jupyter.training.config import ConfigError, TrainingConfig

HEADS = {
    "classification": "classification",
    "multilabel": "multilabel",
    "ordinal": "ordinal",
    "regression": "regression",
    "survival": "cox",
}
"""The head of each task where nothing else is said."""


MULTI_TASK = "multi_task"
"""The head of several tasks, each of which has one of its own."""


def fitted(config: TrainingConfig, tasks: Mapping[str, str]) -> TrainingConfig:
    """The configuration with a head and a watched metric of the target in place of "auto". tasks: as of `Target.tasks`.

    Raises ConfigError for a head that learns another target, a metric that the target does not have, settings of classes
    where there are none, and settings of several tasks that are not the target's.
    """
    metrics = names_of(tasks)
    watch = f"val/{metrics[0]}" if config.watch == "auto" else config.watch
    if "" in tasks:
        task = tasks[""]
        for name in ("task_heads", "task_weights"):
            if getattr(config, name):
                raise ConfigError(f"{name}={getattr(config, name)} is of several targets, and the cohort has one.")
        head = _head_of(task, config.head)
        several = {}
    else:
        task = head = MULTI_TASK
        several = _of_several(config, tasks)
    allowed = ["val/loss", *(f"val/{name}" for name in metrics)]
    if watch not in allowed:
        raise ConfigError(f"watch={watch!r} is no metric of a target of {task}; watch one of {', '.join(allowed)}.")
    if config.sampler == "balanced" and task == MULTI_TASK:
        raise ConfigError(
            f"sampler='balanced' draws each class as often, and each of the {len(tasks)} targets of the cohort would want other "
            "rows: leave it out; class_weights='balanced' weighs the classes of each in its own loss."
        )
    if config.sampler == "balanced" and task not in ("classification", "ordinal"):
        raise ConfigError(f"sampler='balanced' draws each class as often, and a target of {task} has no classes.")
    if config.attention_supervision and task != "classification":
        raise ConfigError(f"attention_supervision is of classes, and the target is one of {task}.")
    config = config.model_copy(update={"head": head, "watch": watch, **several})
    try:
        config.check_head()
    except ValueError as refused:
        raise ConfigError(f"{refused}.") from None
    return config


def _head_of(task: str, head: str, setting: str = "head") -> str:
    """The name of the head that learns `task`; "auto" is the usual one."""
    head = HEADS[task] if head == "auto" else head
    learned = MULTI_TASK if head == MULTI_TASK else getattr(heads(head), "task", None)
    if learned != task:
        able = ", ".join(name for name in heads if getattr(heads(name), "task", None) == task)
        raise ConfigError(
            f"{setting}={head!r} learns another target ({learned}) than this of {task}; choose one of {able}."
        )
    return head


def _of_several(config: TrainingConfig, tasks: Mapping[str, str]) -> dict[str, Any]:
    """A head for each task, under the settings of several."""
    if config.head not in ("auto", MULTI_TASK):
        raise ConfigError(
            f"head={config.head!r} is of one target, and the cohort has {len(tasks)}: give task_heads={{name: head}}, the names "
            f"being of {', '.join(tasks)}."
        )
    for setting in ("task_heads", "task_weights"):
        unknown = next((name for name in getattr(config, setting) or {} if name not in tasks), None)
        if unknown is not None:
            raise ConfigError(f"{setting} names {unknown!r}; the targets of the cohort are {', '.join(tasks)}.")
    chosen = config.task_heads or {}
    named = {name: _head_of(task, chosen.get(name, "auto"), f"task_heads[{name!r}]") for name, task in tasks.items()}
    return {"task_heads": named}


def refuse_unseen(split: Split) -> None:
    """Raise ConfigError where validation or test have a class, a grade, a finding or events that training has not one of, and
    where training has too few events, or validation none, of a time to an event."""
    parts = split.cohort.target.by_part(split.cohort.targets)
    for name, part in parts.items():
        if not part.rows[split.rows["train"]].any():
            raise ConfigError(
                f"The target {name!r} is known of no row of the training part: it cannot be learned. Split so that every part "
                "knows it, or leave it out."
            )
    for value, seen_in in unseen_strata(split).items():
        raise ConfigError(
            f"{value!r} of the target {split.cohort.target.name!r} is in the part {seen_in!r}, but in no row of the training "
            "part: what was never seen cannot be learned. Split so that every part has it, or leave it out."
        )
    for part in parts.values():
        if part.target.task == "survival":
            _refuse_few_events(split, part)


def _refuse_few_events(split: Split, part: TaskValues) -> None:
    event = np.zeros(len(split.cohort), dtype=bool)
    event[part.rows] = part.values[:, 1] == 1
    events = {name: int(event[rows].sum()) for name, rows in split.rows.items()}
    if events["train"] < 2:
        raise ConfigError(
            f"The training part has {events['train']} event of the target {part.target.name!r}: from less than two nothing can "
            "be learned, and ten for each column are usual. Give more rows, or follow them for longer."
        )
    if not events["val"]:
        raise ConfigError(
            f"The validation part has no event of the target {part.target.name!r}: nobody can say there who came first, so no "
            "best epoch can be chosen. Split so that every part has events."
        )


def targets_of(cohort: Cohort) -> torch.Tensor:
    """What a head's loss takes of every row of a cohort: `(N,)` int64 of classes and grades, else float32 `(N,)` or `(N, W)`."""
    return torch.tensor(cohort.targets, dtype=torch.int64 if cohort.targets.dtype == np.int64 else torch.float32)
