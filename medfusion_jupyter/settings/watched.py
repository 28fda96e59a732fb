"""The metrics that a run can be watched by: their words, which way is better, and which of them each kind of target has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """words: as shown to people; best: `max` where higher is better; least, most: between which it can be."""

    words: str
    best: Literal["max", "min"]
    least: float = 0.0
    most: float = 1.0


METRICS = {
    "auroc": Metric("AUROC", "max"),
    "accuracy": Metric("accuracy", "max"),
    "qwk": Metric("quadratic kappa", "max", least=-1.0),
    "mae": Metric("MAE", "min", most=math.inf),
    "rmse": Metric("RMSE", "min", most=math.inf),
    "r2": Metric("R²", "max", least=-math.inf),
    "spearman": Metric("Spearman", "max", least=-1.0),
    "c_index": Metric("C index", "max"),
    "uno_c": Metric("Uno's C", "max"),
    "brier": Metric("Brier score", "min", most=math.inf),
}

METRICS_OF: dict[str, tuple[str, ...]] = {
    "classification": ("auroc", "accuracy"),
    "multilabel": ("auroc",),
    "ordinal": ("qwk", "mae"),
    "regression": ("mae", "rmse", "r2", "spearman"),
    "survival": ("c_index", "uno_c"),
}
"""By task of the target; the first is watched where nothing else is said."""


def names_of(tasks: Mapping[str, str]) -> tuple[str, ...]:
    """The metrics that a target has, the one that is watched where nothing else is said first.

    tasks: the task of each of its parts by name, the empty one where it has one part alone; else a metric begins with the name
    of its part, as in `death_c_index`, the first of each part before the others.
    """
    found = [
        (place, f"{part}_{name}" if part else name)
        for part, task in tasks.items()
        for place, name in enumerate(METRICS_OF[task])
    ]
    return tuple(name for _, name in sorted(found, key=lambda one: one[0] > 0))


def parted(name: str) -> tuple[str, str]:
    """The part of the target that a metric is of, empty where it has one alone, and the metric: `icu`, `auroc` of `icu_auroc`.

    The metric is empty where it is none of a target.
    """
    known = name if name in METRICS else next((one for one in METRICS if name.endswith(f"_{one}")), "")
    return name.removesuffix(known)[:-1], known


def metric_of(name: str) -> Metric | None:
    """What `auroc`, or `icu_auroc` of the part `icu`, is; None where it is no metric of a target."""
    part, known = parted(name)
    if not known:
        return None
    return replace(METRICS[known], words=f"{part} {METRICS[known].words}".strip())


def best_of(watch: str) -> Literal["max", "min"] | None:
    """Which way a metric of validation is better, such as `val/auroc`, `val/loss` or `val/icu_auroc`; None for any other name."""
    part, _, name = watch.partition("/")
    metric = Metric("loss", "min") if name == "loss" else metric_of(name)
    return metric.best if metric is not None and part == "val" else None


def words_of(name: str) -> str:
    """A recorded metric for people: `AUROC` for `val/auroc`, `test AUROC` for `test/auroc`, `train loss` for `train/loss`,
    `icu AUROC` for `val/icu_auroc`."""
    part, _, metric = name.rpartition("/")
    known = metric_of(metric)
    words = metric if known is None else known.words
    return words if part == "val" else f"{part} {words}".strip()


def headline(metrics: Mapping[str, float]) -> str:
    """The metric of validation that a model is shown by: the first that its target has, else the loss."""
    return next(iter(recorded(metrics)), "val/loss")


def recorded(metrics: Iterable[str], part: str = "val") -> list[str]:
    """Those of `metrics` that are of a target and of a part of the cohort, without the bounds of their intervals: in the order of
    METRICS, and those of several tasks behind one another in their own."""
    there = [name for name in dict.fromkeys(metrics) if name.startswith(f"{part}/")]
    there = [name for name in there if metric_of(name.removeprefix(f"{part}/")) is not None]
    order = [f"{part}/{name}" for name in METRICS]
    return sorted(there, key=lambda name: order.index(name) if name in order else len(order))
