"""Are there patients enough for the classes, the folds, the batches and the columns?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort
    from medfusion_jupyter.data.targets import TaskValues

EVENTS_A_COLUMN = 10
"""Peduzzi et al., J Clin Epidemiol 49 (1996): with fewer events a variable the coefficients of a regression are unreliable."""

SIDES = 3
"""Training, validation and test."""

WORDS = {"classification": "class", "ordinal": "grade", "multilabel": "label", "multi_task": "outcome"}


def check_counts(inspection: Inspection) -> Iterator[Finding]:
    """Classes, labels or events against folds and batches, and events a column."""
    cohort = inspection.cohort
    what = WORDS.get(cohort.target.task, "")
    for stratum in cohort.target.strata(cohort.targets):
        if not stratum.needed:
            continue
        count, n_rows = _patients(cohort, stratum.rows), int(stratum.rows.sum())
        named = f"The {what} {stratum.name!r}" if what else "The event"
        if count < max(inspection.folds, SIDES):
            yield Finding(
                "error" if count < SIDES else "warning",
                "counts",
                cohort.target.name,
                f"{named} has {count:,} patients; {inspection.folds} folds need at least one in each.",
                "A fold without it cannot say how well it is found.",
                "Merge it with another, leave it out, or take fewer folds.",
            )
        expected = inspection.batch_size * n_rows / len(cohort)
        if expected < 1:
            yield Finding(
                "warning",
                "counts",
                cohort.target.name,
                f"{named} has {n_rows:,} of {len(cohort):,} rows: most batches of {inspection.batch_size} hold none.",
                "Between two such rows many steps pull the model towards the others.",
                f"Take a batch_size of {int(np.ceil(inspection.batch_size / expected)):,} or more, or merge what is rare.",
            )
    yield from _events_a_column(inspection)


def _patients(cohort: Cohort, rows: NDArray[np.bool_]) -> int:
    return len(np.unique(cohort.patient_codes[rows]))


def _events(cohort: Cohort, part: TaskValues) -> tuple[int, str]:
    """How many patients a target can teach something about, and who they are."""
    patients, values, task = cohort.patient_codes[part.rows], part.values, part.target.task
    if task == "regression":
        return len(np.unique(patients)), "patients"
    if task == "survival":
        return len(np.unique(patients[values[:, 1] == 1])), "patients with the event"
    if task == "multilabel":
        rarest = min(len(np.unique(patients[column == side])) for column in values.T for side in (0, 1))
        return rarest, "patients on the rarer side of the rarest label"
    counts = sorted(len(np.unique(patients[one.rows])) for one in part.target.strata(values))
    return sum(counts[:-1]), "patients outside the largest class"


def _events_a_column(inspection: Inspection) -> Iterator[Finding]:
    cohort = inspection.cohort
    width = len(cohort.numeric)
    for column in cohort.categorical:
        width += max(1, len({name for name in cohort.names(column) if name is not None}) - 1)
    found = {name: _events(cohort, part) for name, part in cohort.target.by_part(cohort.targets).items()}
    poorest = min(found, key=lambda name: found[name])
    events, who = found[poorest]
    who += f" of {poorest!r}" if poorest else ""
    if width and events < EVENTS_A_COLUMN * width:
        yield Finding(
            "warning",
            "counts",
            "table",
            f"{events:,} {who} for {width} columns (a category counts as one less than its "
            f"values): {events / width:.1f} a column, where {EVENTS_A_COLUMN} are usual.",
            "With so few, a model of the table learns chance: it does well in training and not in the test.",
            f"Choose the {max(1, events // EVENTS_A_COLUMN)} columns that matter most in medicine, before looking at the target.",
        )
