"""The metrics of each kind of target. Their words and which way is better are in `settings/watched.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.metrics.discrimination import Interval, accuracy, auroc_of_classes
from medfusion_jupyter.metrics.multilabel import macro_auroc
from medfusion_jupyter.metrics.ordinal import predicted_grades, quadratic_kappa
from medfusion_jupyter.metrics.regression import mae, r2, rmse, spearman
from medfusion_jupyter.metrics.survival import brier_score, c_index, uno_c


@dataclass(frozen=True)
class Judged:
    """One of the tasks whose targets and predictions lie side by side, so many columns each; name: what its metrics begin with,
    empty where it is the only one. times: as of `measure`."""

    task: str
    target_width: int
    prediction_width: int
    name: str = ""
    times: NDArray[np.floating] = field(default_factory=lambda: np.zeros(0))


def measure_each(
    tasks: Sequence[Judged],
    target: NDArray[Any],
    prediction: NDArray[np.floating],
    patient: NDArray[np.integer] | None = None,
) -> dict[str, Interval]:
    """Every metric of every task, as `auroc`, or `icu_auroc` of the task `icu`.

    target: `(N,)` or `(N, W)`, NaN in all columns of a task where it is not known: such rows do not count for that task;
    prediction: `(N, P)`. Raises ValueError for widths that are not those of the tasks.
    """
    found: dict[str, Interval] = {}
    for one, own_target, own_prediction, own_patient in side_by_side(tasks, target, prediction, patient):
        metrics = measure(one.task, own_target, own_prediction, own_patient, times=one.times)
        found |= {f"{one.name}_{name}" if one.name else name: metric for name, metric in metrics.items()}
    return found


def side_by_side(
    tasks: Sequence[Judged],
    target: NDArray[Any],
    prediction: NDArray[np.floating],
    patient: NDArray[np.integer] | None,
) -> Iterator[tuple[Judged, NDArray[Any], NDArray[np.floating], NDArray[np.integer] | None]]:
    """The tasks with what `measure` takes of each: the rows whose target is known."""
    target = target.reshape(len(target), -1)
    widths = sum(one.target_width for one in tasks), sum(one.prediction_width for one in tasks)
    if (target.shape[1], prediction.shape[1]) != widths:
        raise ValueError(
            f"target and prediction have {target.shape[1]} and {prediction.shape[1]} columns, not {widths}"
        )
    targets = np.split(target, np.cumsum([one.target_width for one in tasks])[:-1], axis=1)
    predictions = np.split(prediction, np.cumsum([one.prediction_width for one in tasks])[:-1], axis=1)
    for one, wanted, predicted in zip(tasks, targets, predictions, strict=True):
        known = ~np.isnan(wanted).all(axis=1)
        own = wanted[known] if one.task in ("multilabel", "survival") else wanted[known, 0]
        if one.task in ("classification", "ordinal"):
            own = own.astype(np.int64)
        yield one, own, predicted[known], None if patient is None else patient[known]


def measure(
    task: str,
    target: NDArray[Any],
    prediction: NDArray[np.floating],
    patient: NDArray[np.integer] | None = None,
    *,
    times: NDArray[np.floating] | None = None,
) -> dict[str, Interval]:
    """Every metric of a task, each with its 95 % interval, by name.

    target: classes or grades `(N,)`, labels `(N, L)`, numbers `(N,)`, or times and events `(N, 2)`; patient: `(N,)` integer
    codes, by default each row is a patient of its own. prediction: probabilities `(N, K)`; of a number `(N, 1 or more)`, the
    first being the number; of survival the risk `(N, 1)`, and beside it `(N, 1 + K)` the probabilities to be without the event
    at `times` `(K,)`.
    """
    if task == "classification":
        return {
            "auroc": auroc_of_classes(target, prediction, patient),
            "accuracy": accuracy(target, prediction, patient),
        }
    if task == "multilabel":
        return {"auroc": macro_auroc(target, prediction, patient)}
    if task == "ordinal":
        grades = predicted_grades(prediction)
        return {"qwk": quadratic_kappa(target, grades, patient), "mae": mae(target, grades, patient)}
    if task == "regression":
        each = {"mae": mae, "rmse": rmse, "r2": r2, "spearman": spearman}
        return {name: metric(target, prediction[:, 0], patient) for name, metric in each.items()}
    if task == "survival":
        time, event, risk = target[:, 0], target[:, 1], prediction[:, 0]
        found = {"c_index": c_index(time, event, risk, patient), "uno_c": uno_c(time, event, risk, patient)}
        if times is not None and len(times):
            found["brier"] = brier_score(time, event, prediction[:, 1:], times, patient)
        return found
    raise ValueError(f"task={task!r} has no metrics")
