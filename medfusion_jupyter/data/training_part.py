"""What the training part of a split has nothing of, and so cannot be learned: modalities, and values of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medfusion_jupyter.data.image_columns import TABLE

if TYPE_CHECKING:
    from medfusion_jupyter.data.split import Split


def absent_modalities(split: Split) -> list[str]:
    """The modalities of the cohort that no row of the training part has: views without a file, a table without a value."""
    cohort, rows = split.cohort, split.rows["train"]
    nothing = np.asarray(None)
    absent = [view for view, files in zip(cohort.views, cohort.images, strict=True) if (files[rows] == nothing).all()]
    known = [np.isfinite(cohort.numbers(column)[rows]).any() for column in cohort.numeric]
    known += [(cohort.names(column)[rows] != nothing).any() for column in cohort.categorical]
    return [*absent, TABLE] if known and not any(known) else absent


def unseen_strata(split: Split) -> dict[str, str]:
    """Classes, grades, findings or events that another part has, and the training part has not; with the first such part."""
    target, values = split.cohort.target, split.cohort.targets
    unseen = {}
    for stratum in target.strata(values):
        there = [part for part, rows in split.rows.items() if stratum.rows[rows].any()]
        if stratum.needed and there and "train" not in there:
            unseen[stratum.name] = there[0]
    return unseen
