"""Are there patients enough for the classes, the folds, the batches and the columns?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection

EVENTS_A_COLUMN = 10
"""Peduzzi et al., J Clin Epidemiol 49 (1996): with fewer events a variable the coefficients of a regression are unreliable."""

SIDES = 3
"""Training, validation and test."""


def check_counts(inspection: Inspection) -> Iterator[Finding]:
    """Classes against folds and batches, and events a column."""
    cohort = inspection.cohort
    pairs = np.unique(np.stack([cohort.patient_codes, cohort.target_codes]), axis=1)
    patients = np.bincount(pairs[1], minlength=len(cohort.classes))
    rows = np.bincount(cohort.target_codes, minlength=len(cohort.classes))
    for name, count, n_rows in zip(cohort.classes, patients, rows, strict=True):
        if count < max(inspection.folds, SIDES):
            yield Finding(
                "error" if count < SIDES else "warning",
                "counts",
                cohort.target,
                f"The class {name!r} has {count:,} patients; {inspection.folds} folds need at least one in each.",
                "A fold without the class cannot say how well it is found.",
                "Merge it with another class, leave it out, or take fewer folds.",
            )
        expected = inspection.batch_size * n_rows / len(cohort)
        if expected < 1:
            yield Finding(
                "warning",
                "counts",
                cohort.target,
                f"The class {name!r} has {n_rows:,} of {len(cohort):,} rows: most batches of {inspection.batch_size} hold none.",
                "Between two rows of the class many steps pull the model towards the others.",
                f"Take a batch_size of {int(np.ceil(inspection.batch_size / expected)):,} or more, or merge rare classes.",
            )
    yield from _events(inspection, patients)


def _events(inspection: Inspection, patients: np.ndarray) -> Iterator[Finding]:
    cohort = inspection.cohort
    width = len(cohort.numeric)
    for column in cohort.categorical:
        width += max(1, len({name for name in cohort.names(column) if name is not None}) - 1)
    events = int(np.sort(patients)[:-1].sum())
    if width and events < EVENTS_A_COLUMN * width:
        yield Finding(
            "warning",
            "counts",
            "table",
            f"{events:,} patients outside the largest class for {width} columns (a category counts as one less than its "
            f"values): {events / width:.1f} a column, where {EVENTS_A_COLUMN} are usual.",
            "With so few, a model of the table learns chance: it does well in training and not in the test.",
            f"Choose the {max(1, events // EVENTS_A_COLUMN)} columns that matter most in medicine, before looking at the target.",
        )
