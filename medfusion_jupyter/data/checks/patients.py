"""Is a patient on two sides? Rows of one patient are alike, so what is learned of them would be tested on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection
from medfusion_jupyter.data.checks.words import PART, PATIENT, words_of

TWICE = (
    "Rows of one patient are alike: what a model learns of a patient would be tested on the same patient, and the test would "
    "flatter it."
)


def check_patients(inspection: Inspection) -> Iterator[Finding]:
    """Repeated patients, a patient column that was not given, and a column of parts that puts a patient on two sides."""
    cohort = inspection.cohort
    if cohort.patient is None:
        yield from _unnamed(inspection)
        return
    rows = np.bincount(cohort.patient_codes)
    repeated = rows[rows > 1]
    if len(repeated):
        yield Finding(
            "note",
            "patients",
            cohort.patient,
            f"{len(repeated):,} of {cohort.num_patients:,} patients have more than one row (up to {rows.max():,}).",
            TWICE + " Intervals that take rows for independent would be too narrow.",
            "Use cohort.split(…), which keeps each patient on one side; never shuffle the rows yourself.",
        )
        yield from _changing_class(inspection)
    for column in inspection.others:
        if words_of(column) & PART:
            yield from _sides(inspection, column)


def _unnamed(inspection: Inspection) -> Iterator[Finding]:
    cohort = inspection.cohort
    for column in [*inspection.others, *inspection.cohort.categorical]:
        if not words_of(column) & PATIENT:
            continue
        there = [name for name in tables.names(cohort.frame[column]) if name is not None]
        if len(set(there)) < len(there) and len(set(there)) > len(cohort.classes):
            yield Finding(
                "error",
                "patients",
                column,
                f"The cohort has no patient column, but this one looks like it: {len(there):,} rows of {len(set(there)):,}.",
                TWICE,
                f"Give patient={column!r}.",
            )


def _changing_class(inspection: Inspection) -> Iterator[Finding]:
    cohort = inspection.cohort
    if cohort.target.task not in ("classification", "ordinal"):
        return  # findings, numbers and times are those of a day
    pairs = np.unique(np.stack([cohort.patient_codes, cohort.target_codes]), axis=1)
    changing = int((np.bincount(pairs[0]) > 1).sum())
    if changing:
        yield Finding(
            "note",
            "patients",
            cohort.target.name,
            f"{changing:,} patients have rows of different classes.",
            "If the target is a property of the patient, rows are mislabelled; if it is one of the day, all is well.",
            "Look at those patients and correct the target where it should not change.",
        )


def _sides(inspection: Inspection, column: str) -> Iterator[Finding]:
    cohort = inspection.cohort
    parts = tables.names(cohort.frame[column])
    there = np.asarray([part is not None for part in parts])
    names, codes = np.unique(parts[there].astype(str), return_inverse=True)
    if not 2 <= len(names) <= 20:
        return
    pairs = np.unique(np.stack([cohort.patient_codes[there], codes]), axis=1)
    both = int((np.bincount(pairs[0]) > 1).sum())
    if both:
        yield Finding(
            "error",
            "patients",
            column,
            f"It seems to name the parts of a split, and {both:,} patients are in more than one.",
            TWICE,
            "Split anew by cohort.split(…), or move all rows of a patient to one part.",
        )
