"""Evaluation of a model on a part that it was not trained on."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medfusion_jupyter.data import Cohort
from medfusion_jupyter.metrics import Interval, accuracy, auroc_of_classes, bootstrap_by_patient
from medfusion_jupyter.store import home, open_store
from medfusion_jupyter.training.model import Model, ModelError
from medfusion_jupyter.training.run import saved_split


@dataclass(frozen=True)
class Evaluation:
    """Metrics with their 95 % intervals.

    method: how the intervals were made: `DeLong` and `Wilson` where each patient is one row, else a bootstrap of patients.
    """

    model: str
    part: str
    rows: int
    patients: int
    auroc: Interval
    accuracy: Interval
    method: str

    def __repr__(self) -> str:
        return (
            f"{self.model} on {self.part} ({self.rows} rows, {self.patients} patients): AUROC {self.auroc}, "
            f"accuracy {self.accuracy} (95 % intervals: {self.method})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{name}</td><td>{one.value:.3f}</td><td>{one.low:.3f} to {one.high:.3f}</td></tr>"
            for name, one in (("AUROC", self.auroc), ("accuracy", self.accuracy))
        )
        return (
            f"<b>{html.escape(self.model)}</b> on {html.escape(self.part)}: {self.rows} rows, {self.patients} patients"
            f"<table><tr><th></th><th>value</th><th>95 % interval</th></tr>{rows}</table>"
            f"<small>intervals: {self.method}</small>"
        )


def evaluate(
    model: Model, cohort: Cohort | None = None, *, split: Literal["train", "val", "test"] = "test"
) -> Evaluation:
    """AUROC and accuracy of a model with 95 % intervals.

    cohort: another cohort with the same columns, used whole; without it the part `split` of the cohort the model was
    trained on. Raises ModelError where that part is empty or the target has a class that the model does not know.
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
    unknown = set(whole.classes) - set(model.classes)
    if unknown:
        raise ModelError(
            f"The target has classes that {model.name} does not know: {sorted(unknown)}; it knows {list(model.classes)}."
        )
    codes = np.asarray([model.classes.index(name) for name in whole.classes])
    target = codes[whole.target_codes[rows]]
    probability = model.probabilities(whole, rows)
    patient = whole.patient_codes[rows]
    patients = len(np.unique(patient))
    version = f" v{model.version}" if model.version is not None else ""
    repeated = patients < len(rows)
    return Evaluation(
        model=f"{model.name}{version}",
        part=part,
        rows=len(rows),
        patients=patients,
        auroc=bootstrap_by_patient(auroc_of_classes, target, probability, patient)
        if repeated
        else auroc_of_classes(target, probability),
        accuracy=bootstrap_by_patient(accuracy, target, probability, patient)
        if repeated
        else accuracy(target, probability),
        method="1,000 bootstrap resamples of patients" if repeated else "DeLong and Wilson",
    )


def _part_of_training_cohort(model: Model, split: str) -> tuple[Cohort, np.ndarray]:
    if model.job_id is None:
        raise ModelError(f"{model.name} does not say which job trained it; pass the cohort to evaluate it on.")
    job = open_store().jobs.get(model.job_id)
    if job.dataset_fingerprint is None:
        raise ModelError(f"{model.job_id} does not say what it was trained on; pass the cohort to evaluate on.")
    saved = saved_split(home() / "jobs" / model.job_id, job.dataset_fingerprint)
    return saved.cohort, saved.rows[split]
