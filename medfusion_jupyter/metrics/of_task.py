"""The metrics of each kind of target. Their words and which way is better are in `settings/watched.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.metrics.discrimination import Interval, accuracy, auroc_of_classes
from medfusion_jupyter.metrics.multilabel import macro_auroc
from medfusion_jupyter.metrics.ordinal import predicted_grades, quadratic_kappa
from medfusion_jupyter.metrics.regression import mae, r2, rmse, spearman
from medfusion_jupyter.metrics.survival import brier_score, c_index, uno_c


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
