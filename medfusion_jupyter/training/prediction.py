"""What a head's outputs say of rows: the numbers that metrics judge, and the columns that a user reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat

from medfusion_jupyter.data import Target
from medfusion_jupyter.metrics import predicted_grades
from medfusion_jupyter.metrics.discrimination import Z95
from medfusion_jupyter.nn import Head, SurvivalHead


def predictions(head: Head, outputs: Tensor) -> Tensor:
    """`(N, K) -> (N, P)`: what the head predicts; of survival the risk, and beside it the probabilities to be without the event
    at `head.times`, where it has such."""
    if not isinstance(head, SurvivalHead):
        return head.predict(outputs)
    risk = head.risk(outputs).unsqueeze(1)
    return cat([risk, head.predict(outputs)], dim=1) if len(head.times) else risk


def times_of(head: Head) -> NDArray[np.float64]:
    """The times of the survival that is predicted; none where none is."""
    times = head.times if isinstance(head, SurvivalHead) else ()
    return np.asarray([float(time) for time in times], dtype=np.float64)


def columns_of(
    target: Target, classes: Sequence[str], predicted: NDArray[np.floating], times: NDArray[np.floating]
) -> Mapping[str, Any]:
    """The columns of a prediction `(N, P)`.

    Classes and labels: a probability each. Grades: the grade in the middle of the distribution, under the target's name, and a
    probability each. A number: under the target's name, with `_low` and `_high`, within which 95 % of the rows are expected,
    where the head knows how far it may be off. Survival: `risk`, higher for sooner, and `survival_<time>`.
    """
    if target.task == "ordinal":
        grades = np.asarray(classes, dtype=object)[predicted_grades(predicted)]
        return {target.name: grades, **dict(zip(classes, predicted.T, strict=True))}
    if target.task == "regression":
        value = predicted[:, 0]
        if predicted.shape[1] == 1:
            return {target.name: value}
        around = Z95 * predicted[:, 1]
        return {target.name: value, f"{target.name}_low": value - around, f"{target.name}_high": value + around}
    if target.task == "survival":
        return {
            "risk": predicted[:, 0],
            **{f"survival_{t:.4g}": s for t, s in zip(times, predicted.T[1:], strict=True)},
        }
    return dict(zip(classes, predicted.T, strict=True))


def tested_columns(target: Target, classes: Sequence[str], predicted: NDArray[np.floating]) -> dict[str, Any]:
    """The columns of a prediction that mean the same whichever fold's model gave it: `p_<class>`, `predicted` or `risk`."""
    if target.task == "regression":
        return {"predicted": predicted[:, 0]}
    if target.task == "survival":
        return {"risk": predicted[:, 0]}
    return {f"p_{name}": column for name, column in zip(classes, predicted.T, strict=True)}


def true_columns(target: Target, values: NDArray[Any]) -> dict[str, Any]:
    """The target of rows: `target`, or `target_<column>` where it has several columns."""
    columns = target.to_columns(values)
    if len(target.columns) == 1 and target.task != "multilabel":
        return {"target": columns[target.columns[0]]}
    return {f"target_{name}": column for name, column in columns.items()}
