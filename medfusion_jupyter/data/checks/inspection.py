"""What every check looks at: the cohort, how it will be used, and a sample of its rows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.checks.predictability import Predictability

if TYPE_CHECKING:
    from medfusion_jupyter.data.checks.pictures import Pictures
    from medfusion_jupyter.data.cohort import Cohort
    from medfusion_jupyter.data.split import Split

ROWS = 20_000
"""How well a column predicts the target is measured on so many rows; its error is then below half a percent."""


@dataclass(frozen=True)
class Inspection:
    """A cohort under inspection. images: how many image files to look into; folds, batch_size: as it will be trained."""

    cohort: Cohort
    split: Split | None
    folds: int
    batch_size: int
    images: int
    seed: int

    @functools.cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows that columns are judged by: all, or those of patients drawn at random."""
        patients = self.cohort.patient_codes
        if len(patients) <= ROWS:
            return np.arange(len(patients))
        order = np.random.default_rng(self.seed).permutation(patients.max() + 1)
        place = np.argsort(order)[patients]
        return np.sort(np.argsort(place, kind="stable")[:ROWS])

    @functools.cached_property
    def predictability(self) -> Predictability:
        """How well one column alone predicts the target, by cross-validation over patients."""
        cohort = self.cohort
        return Predictability(
            cohort.target.outcomes(cohort.targets[self.rows]), cohort.patient_codes[self.rows], seed=self.seed
        )

    @functools.cached_property
    def pictures(self) -> Pictures | None:
        """The images that were looked into; None for a cohort without images."""
        from medfusion_jupyter.data.checks.pictures import look_at

        return look_at(self.cohort, self.images, self.seed) if self.cohort.views else None

    @property
    def features(self) -> set[str]:
        """The columns that are learned from."""
        return {*self.cohort.numeric, *self.cohort.categorical}

    @property
    def others(self) -> list[str]:
        """The columns of the table that have no role: target, image and patient are left out."""
        cohort = self.cohort
        taken = {*cohort.target.columns, cohort.patient, cohort.bag, *cohort.views.values(), *self.features}
        return [str(column) for column in cohort.frame.columns if column not in taken]
