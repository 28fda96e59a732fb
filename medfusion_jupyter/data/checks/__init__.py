"""Checks of a cohort before training. Each file asks one question; `CHECKS` is all of them.

A check is a function of an Inspection that yields Findings. A new one is a file here and a line in CHECKS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from medfusion_jupyter.data.checks.columns import check_columns
from medfusion_jupyter.data.checks.counts import check_counts
from medfusion_jupyter.data.checks.duplicates import check_duplicates
from medfusion_jupyter.data.checks.findings import CheckFailed, Finding, Findings, StopAt
from medfusion_jupyter.data.checks.images import check_images
from medfusion_jupyter.data.checks.inspection import Inspection
from medfusion_jupyter.data.checks.outcomes import check_outcomes
from medfusion_jupyter.data.checks.patients import check_patients
from medfusion_jupyter.data.checks.shortcuts import check_shortcuts
from medfusion_jupyter.data.checks.training_part import check_training_part
from medfusion_jupyter.data.errors import CohortError

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort
    from medfusion_jupyter.data.split import Split

CHECKS: tuple[Callable[[Inspection], Iterable[Finding]], ...] = (
    check_patients,
    check_duplicates,
    check_outcomes,
    check_shortcuts,
    check_images,
    check_training_part,
    check_counts,
    check_columns,
)

__all__ = ["CHECKS", "CheckFailed", "Finding", "Findings", "StopAt", "check_cohort"]


def check_cohort(
    cohort: Cohort, split: Split | None, *, folds: int, batch_size: int, images: int, seed: int
) -> Findings:
    """All checks; see `Cohort.check`."""
    for name, value, least in (("folds", folds, 2), ("batch_size", batch_size, 2), ("images", images, 1)):
        if value < least:
            raise CohortError(f"{name}={value} is too small: give {least} or more.")
    if split is not None and len(split.cohort) != len(cohort):
        raise CohortError("The split is of another cohort: give a split of this one, or none.")
    if not cohort.has_target:
        raise CohortError("A cohort to predict for has no target to check: check the one to train on.")
    inspection = Inspection(cohort, split, folds=folds, batch_size=batch_size, images=images, seed=seed)
    found = [finding for check in CHECKS for finding in check(inspection)]
    return Findings(found, _looked_at(inspection))


def _looked_at(inspection: Inspection) -> str:
    def share(some: int, all_of_them: int, what: str) -> str:
        return f"{some:,} of {all_of_them:,} {what}" if some < all_of_them else f"all {all_of_them:,} {what}"

    seen = [share(len(inspection.rows), len(inspection.cohort), "rows")]
    if inspection.pictures is not None:
        seen.append(share(len(inspection.pictures.rows), inspection.pictures.files, "image files"))
    return f"looked at {' and '.join(seen)}"
