"""What a head's outputs say of rows: the numbers that metrics judge, and the columns that a user reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat, zeros

from medfusion_jupyter.data import Target
from medfusion_jupyter.metrics import Judged, predicted_grades
from medfusion_jupyter.metrics.discrimination import Z95
from medfusion_jupyter.nn import Head, SurvivalHead


def predictions(head: Head, outputs: Tensor, times: Tensor | None = None) -> Tensor:
    """`(N, K) -> (N, P)`: what the head predicts; of survival the risk, and beside it the probabilities to be without the event
    at `times`, by default `head.times`, where it has such. Of several tasks these side by side."""
    return cat([_of_part(part, outputs, times) for part, outputs in _zipped(head, outputs)], dim=1)


def _zipped(head: Head, outputs: Tensor) -> Iterator[tuple[Head, Tensor]]:
    """The heads of the tasks, each with its outputs."""
    return zip(head.parts.values(), head.of_parts(outputs).values(), strict=True)


def _of_part(head: Head, outputs: Tensor, times: Tensor | None) -> Tensor:
    if not isinstance(head, SurvivalHead):
        return head.predict(outputs)
    risk = head.risk(outputs).unsqueeze(1)
    if not len(head.times):
        return risk
    return cat([risk, head.predict(outputs) if times is None else head.survival(outputs, times)], dim=1)


def judged_by(head: Head, times: Tensor | None = None) -> list[Judged]:
    """The tasks of a head, as `metrics.measure_each` takes them beside its `predictions`, at the same times."""
    nothing = zeros(0, head.output_width, device=next(head.parameters()).device)
    widths = [_of_part(part, outputs, times).shape[1] for part, outputs in _zipped(head, nothing)]
    return [
        Judged(part.task, part.target_width, width, name, times_of(part, times))
        for (name, part), width in zip(head.parts.items(), widths, strict=True)
    ]


def times_of(head: Head, times: Tensor | None = None) -> NDArray[np.float64]:
    """The times of the survival that is predicted; none where none is. times: those that are asked for."""
    if not isinstance(head, SurvivalHead) or not len(head.times):
        return np.zeros(0)
    return (head.times if times is None else times).cpu().numpy().astype(np.float64)


def columns_of(target: Target, judged: Sequence[Judged], predicted: NDArray[np.floating]) -> dict[str, Any]:
    """The columns of a prediction `(N, P)`, as `Model.predict` says. target: with its classes."""
    ends = np.cumsum([one.prediction_width for one in judged])[:-1]
    columns: dict[str, Any] = {}
    for (name, part), one, own in zip(target.parts.items(), judged, np.split(predicted, ends, axis=1), strict=True):
        columns |= _columns(part, own, one.times, name or part.name, f"{name}_" if name else "")
    return columns


def _columns(
    target: Target, predicted: NDArray[np.floating], times: NDArray[np.floating], title: str, start: str
) -> dict[str, Any]:
    """title: the column of what is predicted in one word; start: what the others begin with."""
    if target.task == "regression":
        value = predicted[:, 0]
        if predicted.shape[1] == 1:
            return {title: value}
        around = Z95 * predicted[:, 1]
        return {title: value, f"{title}_low": value - around, f"{title}_high": value + around}
    if target.task == "survival":
        curve = zip(times, predicted.T[1:], strict=True)
        return {f"{start}risk": predicted[:, 0], **{f"{start}survival_{_moment(time)}": share for time, share in curve}}
    grades = {}
    if target.task == "ordinal":
        grades = {title: np.asarray(target.classes, dtype=object)[predicted_grades(predicted)]}
    return grades | {f"{start}{name}": share for name, share in zip(target.classes, predicted.T, strict=True)}


def _moment(time: float) -> str:
    return f"{time:.0f}" if float(time).is_integer() else f"{time:.4g}"


def names_of(target: Target, judged: Sequence[Judged]) -> list[str]:
    """What each column of `predictions` `(N, P)` is. target: with its classes."""
    names: list[str] = []
    for (name, part), one in zip(target.parts.items(), judged, strict=True):
        start, title = f"{name}_" if name else "", name or part.name
        if part.task == "regression":
            names += [title, f"{title}_std"][: one.prediction_width]
        elif part.task == "survival":
            names += [f"{start}risk", *(f"{start}survival_{_moment(time)}" for time in one.times)]
        else:
            names += [f"{start}{each}" for each in part.classes]
    return names


def tested_columns(target: Target, judged: Sequence[Judged], predicted: NDArray[np.floating]) -> dict[str, Any]:
    """The columns of a prediction that mean the same whichever fold's model gave it: `p_<class>`, `predicted` or `risk`; of
    several tasks each begins with the name of its own. target: with its classes."""
    ends = np.cumsum([one.prediction_width for one in judged])[:-1]
    columns: dict[str, Any] = {}
    for (name, part), own in zip(target.parts.items(), np.split(predicted, ends, axis=1), strict=True):
        titles = {"regression": ["predicted"], "survival": ["risk"]}.get(
            part.task, [f"p_{one}" for one in part.classes]
        )
        columns |= {f"{name}_{title}" if name else title: own[:, place] for place, title in enumerate(titles)}
    return columns


def judged_in(target: Target) -> list[Judged]:
    """The tasks of a target, as `metrics.measure_each` takes them beside its `tested_columns`."""
    return [Judged(part.task, part.width, len(part.classes) or 1, name) for name, part in target.parts.items()]


def true_columns(target: Target, values: NDArray[Any]) -> dict[str, Any]:
    """The target of rows: `target`, or `target_<column>` where it has several columns."""
    columns = target.to_columns(values)
    if len(target.columns) == 1 and target.task != "multilabel":
        return {"target": columns[target.columns[0]]}
    return {f"target_{name}": column for name, column in columns.items()}
