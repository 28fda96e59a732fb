"""Is there anything to learn in each column?"""

from __future__ import annotations

from collections.abc import Iterator

from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection
from medfusion_jupyter.data.checks.predictability import filled

MANY = 50
MOSTLY_MISSING = 0.8


def check_columns(inspection: Inspection) -> Iterator[Finding]:
    """Columns that are empty, hold one value, are mostly missing, or have a category for nearly each row."""
    cohort = inspection.cohort
    for column in [*cohort.numeric, *cohort.categorical, *inspection.others]:
        used = column in inspection.features
        values = cohort.frame[column]
        there = filled(values).astype(bool)
        if not there.any():
            yield Finding(
                "warning" if used else "note",
                "columns",
                column,
                "It is empty in every row.",
                "There is nothing to learn from it; where others have values, this cohort was probably redacted.",
                "Take it out of the columns to learn from." if used else "Nothing to do: it is not learned from.",
            )
            continue
        if not used:
            continue
        kinds = values[there].nunique()
        if kinds == 1 and there.all():
            yield Finding(
                "warning",
                "columns",
                column,
                "It has the same value in every row.",
                "There is nothing to learn from it, and another value met in use would mean nothing to the model.",
                "Take it out of the columns to learn from.",
            )
        missing = 1 - float(there.mean())
        if missing > MOSTLY_MISSING:
            yield Finding(
                "warning",
                "columns",
                column,
                f"It is missing in {missing:.0%} of the rows.",
                "The model learns mostly whether it was measured, which is a habit of this hospital.",
                "Leave it out, or report the model with and without it.",
            )
        if column in cohort.categorical and kinds > max(MANY, len(cohort) // 10):
            yield Finding(
                "warning",
                "columns",
                column,
                f"It has {kinds:,} categories in {len(cohort):,} rows.",
                "Categories with few rows each are learned by heart; an id among them would be the patient.",
                "Leave it out where it is a name or an id; else merge rare categories.",
            )
