"""Folds for cross-validation: by patient, each patient in exactly one test part, every class in every part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.split import PARTS, Split, deal, rows_by_patient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medfusion_jupyter.data.cohort import Cohort
    from medfusion_jupyter.data.targets import Stratum

MOST_FOLDS = 500


@dataclass(frozen=True)
class Fold:
    """One fold: its test part is left out of the training and of the choice of the best epoch.

    repeat, fold: from 1; a repeat draws all folds anew.
    """

    repeat: int
    fold: int
    split: Split


def folds_by_patient(cohort: Cohort, *, folds: int, repeats: int, val: float, seed: int) -> list[Fold]:
    """The folds of each repeat, in order: `repeats` times `folds` splits whose test parts are the whole cohort once a repeat.

    folds: 2 to 500, stratified by the target as near as patients allow. val: share of all rows that is taken from the
    training part to choose the best epoch by, above 0 and below 1 - 1/folds. The same seed gives the same folds. Raises
    CohortError where a class has too few patients for so many folds.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise CohortError(f"folds={folds} is out of range: give 2 to {MOST_FOLDS}.")
    if repeats < 1:
        raise CohortError(f"repeats={repeats} is out of range: give 1 or more.")
    if not 0 < val < 1 - 1 / folds:
        raise CohortError(
            f"val={val} leaves nothing to train on: with folds={folds} give more than 0 and less than {1 - 1 / folds:.3g}."
        )
    strata = cohort.target.strata(cohort.targets)
    owner, counts = rows_by_patient(cohort, strata)
    _refuse_too_few(cohort, strata, counts, folds)
    return [
        Fold(repeat, fold, split)
        for repeat in range(1, repeats + 1)
        for fold, split in enumerate(_splits(cohort, strata, owner, counts, folds, val, (seed, repeat)), start=1)
    ]


def _splits(
    cohort: Cohort,
    strata: Sequence[Stratum],
    owner: NDArray[np.int64],
    counts: NDArray[np.float64],
    folds: int,
    val: float,
    seeds: tuple[int, int],
) -> Iterator[Split]:
    rng = np.random.default_rng(seeds)
    tested_in = deal(counts, np.full(folds, 1 / folds), rng)
    val_share = val / (1 - 1 / folds)
    for fold in range(folds):
        part_of = np.full(len(counts), PARTS.index("test"))
        learned = np.flatnonzero(tested_in != fold)
        part_of[learned] = deal(counts[learned], np.asarray([1 - val_share, val_share]), rng)
        _refuse_lacking(strata, counts, part_of, fold + 1)
        of_row = part_of[owner]
        yield Split(cohort, {part: np.flatnonzero(of_row == k) for k, part in enumerate(PARTS)})


def _refuse_too_few(cohort: Cohort, strata: Sequence[Stratum], counts: NDArray[np.float64], folds: int) -> None:
    # one in each test part, and two others to learn from and to choose by
    needed = max(folds, 4) if folds == 2 else folds
    if len(counts) < needed:
        raise CohortError(f"{len(counts)} patients are too few for folds={folds}: {needed} or more are needed.")
    having = (counts > 0).sum(axis=0)
    rare = [f"{one.name!r} ({int(n)})" for one, n in zip(strata, having, strict=True) if one.needed and n < needed]
    if rare:
        most = min(int(n) for one, n in zip(strata, having, strict=True) if one.needed)
        advice = f"Take folds={most} at most, or merge" if most > 2 else "Merge"
        raise CohortError(
            f"The target {cohort.target.name!r} has classes of fewer patients than folds={folds} needs ({needed}): "
            f"{', '.join(rare)}. {advice} or leave out rare classes."
        )


def _refuse_lacking(
    strata: Sequence[Stratum], counts: NDArray[np.float64], part_of: NDArray[np.int64], fold: int
) -> None:
    for k, part in enumerate(PARTS):
        there = counts[part_of == k].sum(axis=0) > 0
        lacking = [repr(one.name) for one, has in zip(strata, there, strict=True) if one.needed and not has]
        if lacking:
            raise CohortError(
                f"The part {part!r} of fold {fold} got no patient of {', '.join(lacking)}: they have rows of several "
                "classes. Try another seed, fewer folds, or merge rare classes."
            )
