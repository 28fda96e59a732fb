"""From what a person or a stored cohort says to the target that it means."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.multi_task import MultiTask
from medfusion_jupyter.data.targets import Classification, Multilabel, Ordinal, Regression, Survival, Target

TARGETS: dict[str, type[Target]] = {
    kind.task: kind for kind in (Classification, Multilabel, Ordinal, Regression, Survival, MultiTask)
}


def target_of(given: Any) -> Target:
    """The target that a user or a stored cohort names: a Target, a column, a list of columns, a mapping of names to targets
    of any of these kinds, or what `to_json` of a target gave, a mapping with its `task`.

    Raises CohortError where it is none of these.
    """
    if isinstance(given, Target):
        return given
    if isinstance(given, str):
        return Classification(given)
    if isinstance(given, Mapping) and "task" in given:
        return _stored(given)
    if isinstance(given, Mapping):
        return MultiTask({str(name): target_of(part) for name, part in given.items()})
    if isinstance(given, Sequence) and all(isinstance(label, str) for label in given):
        return Multilabel(tuple(given))
    raise CohortError(
        f"target={given!r} must be the name of a column with classes, a list of columns of findings, mf.Ordinal(column, "
        "classes=[…]), mf.Regression(column), mf.Survival(time=…, event=…), or several of these as {name: target, …}."
    )


def _stored(given: Mapping[str, Any]) -> Target:
    kind = TARGETS.get(str(given["task"]))
    settings = {str(key): tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    del settings["task"]
    names = [field.name for field in dataclasses.fields(kind)] if kind else []  # type: ignore[arg-type]
    if kind is None or not set(settings) <= set(names):
        raise CohortError(
            f"target={dict(given)}: 'task' is one of {', '.join(TARGETS)}"
            + (f", and {given['task']} has {', '.join(names)}." if kind else ".")
        )
    if kind is MultiTask and isinstance(settings.get("targets"), Mapping):
        return target_of(settings["targets"])
    try:
        return kind(**settings)
    except TypeError:
        raise CohortError(f"target={dict(given)}: {given['task']} needs {', '.join(names)}.") from None
