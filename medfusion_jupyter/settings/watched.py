"""The metrics that a run can be watched by: their words, which way is better, and which of them each kind of target has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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

WATCHABLE: dict[str, Literal["max", "min"]] = {
    "val/loss": "min",
    **{f"val/{name}": METRICS[name].best for names in METRICS_OF.values() for name in names},
}


def words_of(name: str) -> str:
    """A recorded metric for people: `AUROC` for `val/auroc`, `test AUROC` for `test/auroc`, `train loss` for `train/loss`."""
    part, _, metric = name.rpartition("/")
    words = METRICS[metric].words if metric in METRICS else metric
    return words if part == "val" else f"{part} {words}".strip()


def headline(metrics: Mapping[str, float]) -> str:
    """The metric of validation that a model is shown by: the first that its target has, else the loss."""
    return next((f"val/{name}" for name in METRICS if f"val/{name}" in metrics), "val/loss")
