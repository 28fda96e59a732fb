"""Evaluation of a model on a part that it was not trained on."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medfusion_jupyter.data import Cohort, Target
from medfusion_jupyter.data.targets import TaskValues
from medfusion_jupyter.metrics import Interval, auroc_of_labels, measure_each, side_by_side
from medfusion_jupyter.settings.watched import words_of
from medfusion_jupyter.store import home, open_store
from medfusion_jupyter.training.model import Model, ModelError
from medfusion_jupyter.training.prediction import judged_by
from medfusion_jupyter.training.run import saved_split

METHODS = {
    "classification": ("DeLong and Wilson", "Obuchowski, and Wilson for the effective number of rows, over patients"),
    "multilabel": ("DeLong", "Obuchowski, over patients"),
}
"""How the intervals were made, where each patient is one row and where patients repeat."""

LINEARISED = ("infinitesimal jackknife", "infinitesimal jackknife over patients")


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model on rows that it may not have learned from, each with its 95 % interval.

    metrics: by name, those that the target has: `auroc` and `accuracy` of classes, the mean `auroc` of labels; `qwk`, `mae` of
    grades; `mae`, `rmse`, `r2`, `spearman` of a number; `c_index`, `uno_c` of survival and, where the head predicts survival
    over time, `brier`; of several targets each with the name of its own, such as `death_c_index`. Each is an attribute too.
    labels: the AUROC of each label. method: how the intervals were made.
    """

    model: str
    part: str
    rows: int
    patients: int
    metrics: Mapping[str, Interval]
    labels: Mapping[str, Interval]
    method: str

    def __getattr__(self, name: str) -> Interval:
        metrics = self.__dict__.get("metrics", {})
        if name not in metrics:
            raise AttributeError(
                f"An evaluation of this model has no {name!r}; it has {', '.join(metrics)}.", name=name
            )
        found: Interval = metrics[name]
        return found

    def _in_words(self) -> dict[str, Interval]:
        return {
            **{words_of(f"val/{name}"): one for name, one in self.metrics.items()},
            **{f"AUROC of {label}": one for label, one in self.labels.items()},
        }

    def __repr__(self) -> str:
        found = ", ".join(f"{words} {one}" for words, one in self._in_words().items())
        return (
            f"{self.model} on {self.part} ({self.rows} rows, {self.patients} patients): {found} "
            f"(95 % intervals: {self.method})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(words)}</td><td>{one.value:.3f}</td>"
            f"<td>{one.low:.3f} to {one.high:.3f}</td></tr>"
            for words, one in self._in_words().items()
        )
        return (
            f"<b>{html.escape(self.model)}</b> on {html.escape(self.part)}: {self.rows} rows, {self.patients} patients"
            f"<table><tr><th></th><th>value</th><th>95 % interval</th></tr>{rows}</table>"
            f"<small>intervals: {self.method}</small>"
        )


def evaluate(
    model: Model, cohort: Cohort | None = None, *, split: Literal["train", "val", "test"] = "test"
) -> Evaluation:
    """What a model is worth, by the metrics of its target, with 95 % intervals that know which rows are of one patient.

    cohort: another cohort with the same columns, used whole; without it the part `split` of the cohort the model was
    trained on. Raises ModelError where that part is empty, the target is of another kind or has a class that the model does not
    know.
    """
    part: str
    if cohort is None:
        if split not in ("train", "val", "test"):
            raise ModelError(f"split={split!r} is not a part of a cohort: choose train, val or test.")
        whole, rows = _part_of_training_cohort(model, split)
        part = split
    else:
        whole, rows, part = cohort, np.arange(len(cohort)), cohort.name or "cohort"
    if not len(rows):
        raise ModelError(f"The part {part!r} has no rows: the cohort was split without it.")
    target, tasks = _as_learned(model, whole)[rows], judged_by(model.module.head)
    predicted = model.predictions(whole, rows)
    patient = whole.patient_codes[rows]
    patients = len(np.unique(patient))
    labels: dict[str, Interval] = {}
    for task, of_task, shares, patients_of_task in side_by_side(tasks, target, predicted, patient):
        if task.task == "multilabel":
            names = model.spec.target.parts[task.name].classes
            labels |= dict(zip(names, auroc_of_labels(of_task, shares, patients_of_task), strict=True))
    methods = dict.fromkeys(METHODS.get(task.task, LINEARISED)[patients < len(rows)] for task in tasks)
    version = f" v{model.version}" if model.version is not None else ""
    return Evaluation(
        model=f"{model.name}{version}",
        part=part,
        rows=len(rows),
        patients=patients,
        metrics=measure_each(tasks, target, predicted, patient),
        labels=labels,
        method="; ".join(methods),
    )


def _as_learned(model: Model, cohort: Cohort) -> np.ndarray:
    """The targets of every row `(N, W)`, NaN where not known; targets, classes and labels in the order of the model's outputs."""
    learned, given = model.spec.target, cohort.target
    if not cohort.has_target:
        raise ModelError(f"The cohort has no target to compare with: it needs {learned.name!r}.")
    if given.task != learned.task or given.tasks != learned.tasks:
        raise ModelError(
            f"{model.name} learned a target of {_in_words(learned)}, {learned.name!r}; this cohort's is of {_in_words(given)}."
        )
    values, columns = given.by_part(cohort.targets), []
    for name, part in learned.parts.items():
        own = np.full((len(cohort), part.width), np.nan)
        own[values[name].rows] = _recoded(model, part, values[name])
        columns.append(own)
    return np.concatenate(columns, axis=1)


def _in_words(target: Target) -> str:
    if "" in target.tasks:
        return target.task
    return " and ".join(f"{task} ({name})" for name, task in target.tasks.items())


def _recoded(model: Model, learned: Target, given: TaskValues) -> np.ndarray:
    """The known values of one target, `(n, width)`, classes and labels as `learned` has them."""
    classes = given.target.classes
    unknown = sorted(set(classes) - set(learned.classes))
    if unknown:
        raise ModelError(
            f"The target has classes that {model.name} does not know: {unknown}; it knows {list(learned.classes)}."
        )
    if learned.task == "multilabel":
        missing = sorted(set(learned.classes) - set(classes))
        if missing:
            raise ModelError(
                f"{model.name} predicts {missing} too: give the cohort all of {list(learned.classes)} as target."
            )
        return np.asarray(given.values[:, [classes.index(name) for name in learned.classes]])
    if not classes:
        return np.asarray(given.values).reshape(-1, learned.width)
    return np.asarray([learned.classes.index(name) for name in classes])[given.values][:, None]


def _part_of_training_cohort(model: Model, split: str) -> tuple[Cohort, np.ndarray]:
    if model.job_id is None:
        raise ModelError(f"{model.name} does not say which job trained it; pass the cohort to evaluate it on.")
    job = open_store().jobs.get(model.job_id)
    if job.dataset_fingerprint is None:
        raise ModelError(f"{model.job_id} does not say what it was trained on; pass the cohort to evaluate on.")
    saved = saved_split(home() / "jobs" / model.job_id, job.dataset_fingerprint)
    return saved.cohort, saved.rows[split]
