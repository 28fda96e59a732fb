"""Evaluation of a model on a part that it was not trained on."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medfusion_jupyter.data import Cohort
from medfusion_jupyter.metrics import Interval, auroc_of_labels, measure
from medfusion_jupyter.settings.watched import METRICS
from medfusion_jupyter.store import home, open_store
from medfusion_jupyter.training.model import Model, ModelError
from medfusion_jupyter.training.prediction import times_of
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
    over time, `brier`. Each is an attribute too. labels: the AUROC of each label. method: how the intervals were made.
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
            **{METRICS[name].words: one for name, one in self.metrics.items()},
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
    task, target = whole.target.task, _as_learned(model, whole)[rows]
    predicted, times = model.predictions(whole, rows), times_of(model.module.head)
    patient = whole.patient_codes[rows]
    patients = len(np.unique(patient))
    of_labels = auroc_of_labels(target, predicted, patient) if task == "multilabel" else []
    version = f" v{model.version}" if model.version is not None else ""
    return Evaluation(
        model=f"{model.name}{version}",
        part=part,
        rows=len(rows),
        patients=patients,
        metrics=measure(task, target, predicted, patient, times=times),
        labels=dict(zip(model.classes, of_labels, strict=True)) if of_labels else {},
        method=METHODS.get(task, LINEARISED)[patients < len(rows)],
    )


def _as_learned(model: Model, cohort: Cohort) -> np.ndarray:
    """The targets of every row, classes and labels in the order of the model's outputs."""
    learned, given = model.spec.target, cohort.target
    if not cohort.has_target:
        raise ModelError(f"The cohort has no target to compare with: it needs {learned.name!r}.")
    if given.task != learned.task:
        raise ModelError(
            f"{model.name} learned a target of {learned.task}, {learned.name!r}; this cohort's is of {given.task}."
        )
    unknown = sorted(set(cohort.classes) - set(model.classes))
    if unknown:
        raise ModelError(
            f"The target has classes that {model.name} does not know: {unknown}; it knows {list(model.classes)}."
        )
    if given.task == "multilabel":
        missing = sorted(set(model.classes) - set(cohort.classes))
        if missing:
            raise ModelError(
                f"{model.name} predicts {missing} too: give the cohort all of {list(model.classes)} as target."
            )
        return np.asarray(cohort.targets[:, [cohort.classes.index(name) for name in model.classes]])
    if not cohort.classes:
        return np.asarray(cohort.targets)
    return np.asarray([model.classes.index(name) for name in cohort.classes])[cohort.targets]


def _part_of_training_cohort(model: Model, split: str) -> tuple[Cohort, np.ndarray]:
    if model.job_id is None:
        raise ModelError(f"{model.name} does not say which job trained it; pass the cohort to evaluate it on.")
    job = open_store().jobs.get(model.job_id)
    if job.dataset_fingerprint is None:
        raise ModelError(f"{model.job_id} does not say what it was trained on; pass the cohort to evaluate on.")
    saved = saved_split(home() / "jobs" / model.job_id, job.dataset_fingerprint)
    return saved.cohort, saved.rows[split]
