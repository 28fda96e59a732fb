"""Splitting by patient: every patient on one side, every class in every part."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.cohort_view import html_of_split
from medfusion_jupyter.data.errors import CohortError, closest
from medfusion_jupyter.data.targets import Stratum
from medfusion_jupyter.store.durable_files import write_json

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """A cohort in three parts that share no patient.

    rows: positions of the rows of each part, `train`, `val` and `test`; a part may be empty. Raises CohortError where a
    patient is on two sides, however the split was made.
    """

    cohort: Cohort
    rows: Mapping[str, NDArray[np.int64]]

    def __post_init__(self) -> None:
        if set(self.rows) != set(PARTS):
            raise CohortError(f"A split has the parts {', '.join(PARTS)}, not {', '.join(sorted(self.rows))}.")
        every = np.concatenate([self.rows[part] for part in PARTS])
        if len(np.unique(every)) != len(every):
            raise CohortError("The split has a row in two parts.")
        patients = [set(self.patients[part].tolist()) for part in PARTS]
        shared = (patients[0] & patients[1]) | (patients[0] & patients[2]) | (patients[1] & patients[2])
        if shared:
            raise CohortError(
                f"The split has {len(shared)} patients on two sides: what is learned of them would be tested on them."
            )

    @property
    def patients(self) -> dict[str, NDArray[np.int64]]:
        """The patients of each part, as numbers of `cohort.patient_codes`."""
        return {part: np.unique(self.cohort.patient_codes[self.rows[part]]) for part in PARTS}

    @property
    def train(self) -> Cohort:
        """The part to learn from."""
        return self.cohort.subset(self.rows["train"])

    @property
    def val(self) -> Cohort:
        """The part to choose by."""
        return self.cohort.subset(self.rows["val"])

    @property
    def test(self) -> Cohort:
        """The part to report."""
        return self.cohort.subset(self.rows["test"])

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{part} {len(self.rows[part])} rows of {len(self.patients[part])} patients" for part in PARTS
        )
        return f"<Split of {self.cohort.name or self.cohort.target.name}: {parts}>"

    def _repr_html_(self) -> str:
        return html_of_split(self)

    def write(self, path: Path) -> None:
        """Write the rows of each part."""
        write_json(path, {part: self.rows[part].tolist() for part in PARTS})

    @classmethod
    def read(cls, path: Path, cohort: Cohort) -> Split:
        """The split that `write` kept, of the same cohort. Raises CohortError where it is missing or does not fit."""
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            rows = {part: np.asarray(saved[part], dtype=np.int64) for part in PARTS}
        except (OSError, json.JSONDecodeError, KeyError) as error:
            raise CohortError(f"There is no readable split in {path}: {error}.") from error
        if max((int(part.max()) for part in rows.values() if len(part)), default=-1) >= len(cohort):
            raise CohortError(f"The split in {path} has rows that the cohort of {len(cohort)} rows does not.")
        return cls(cohort, rows)


def split_by_column(cohort: Cohort, column: str) -> Split:
    """The split that a column of the table gives: see `Cohort.split_by`."""
    if column not in cohort.frame.columns:
        raise CohortError(f"There is no column {column!r}.{closest(column, map(str, cohort.frame.columns))}")
    names = tables.names(cohort.frame[column])
    other = sorted({str(name) for name in names if name not in (*PARTS, None)})
    if other:
        raise CohortError(
            f"The column {column!r} has the values {', '.join(map(repr, other[:5]))}; the parts of a split are train, val and "
            f"test. Rename them: frame[{column!r}].replace({{{other[0]!r}: 'train'}})."
        )
    split = Split(cohort, {part: np.flatnonzero(names == part) for part in PARTS})
    if not len(split.rows["train"]):
        raise CohortError(f"The column {column!r} has no row of the part 'train': there is nothing to train on.")
    return split


def split_by_patient(cohort: Cohort, *, test: float, val: float, seed: int) -> Split:
    """Patients are dealt to the parts so that each part comes near its share of the rows of every class.

    Patients with the same rows of each class are alike; of each kind every part gets its share, and who is left over goes
    where most is missing. What stands for classes with other targets, the target says by its strata. Raises CohortError where
    a class has fewer patients than there are parts.
    """
    for name, share in (("test", test), ("val", val)):
        if not 0 <= share < 1:
            raise CohortError(f"{name}={share} is no share: give 0 or more and less than 1.")
    if test + val >= 1:
        raise CohortError(f"test={test} and val={val} leave nothing to train on: together they must be below 1.")
    shares = {"train": 1 - test - val, "val": val, "test": test}
    parts = [part for part in PARTS if shares[part] > 0]
    strata = cohort.target.strata(cohort.targets)
    owner, counts = rows_by_patient(cohort, strata)
    _refuse_too_few(cohort, strata, counts, parts)
    part_of = deal(counts, np.asarray([shares[part] for part in parts]), np.random.default_rng(seed))
    of_row = part_of[owner]
    rows = {part: np.flatnonzero(of_row == k) for k, part in enumerate(parts)}
    split = Split(cohort, {part: rows.get(part, np.zeros(0, dtype=np.int64)) for part in PARTS})
    for part in parts:
        lacking = [one.name for one in strata if one.needed and not one.rows[split.rows[part]].any()]
        if lacking:
            raise CohortError(
                f"The part {part!r} got no patient of {', '.join(map(repr, lacking))}: they have rows of several classes. "
                "Try another seed, larger shares, or merge rare classes."
            )
    return split


def _refuse_too_few(cohort: Cohort, strata: Sequence[Stratum], counts: NDArray[np.float64], parts: list[str]) -> None:
    if len(counts) < len(parts):
        raise CohortError(f"{len(counts)} patients cannot be split into {len(parts)} parts ({', '.join(parts)}).")
    having = (counts > 0).sum(axis=0)
    rare = [f"{one.name!r} ({int(n)})" for one, n in zip(strata, having, strict=True) if one.needed and n < len(parts)]
    if rare:
        raise CohortError(
            f"The target {cohort.target.name!r} has classes of fewer patients than there are parts ({len(parts)}): "
            f"{', '.join(rare)}. Merge or leave out rare classes, or set test=0."
        )


def rows_by_patient(cohort: Cohort, strata: Sequence[Stratum]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The patient of each row `(N,)`, as a number from 0, and how many rows of each stratum a patient has `(P, S)`."""
    patients, owner = np.unique(cohort.patient_codes, return_inverse=True)
    counts = [np.bincount(owner, one.rows, minlength=len(patients)) for one in strata]
    return owner.astype(np.int64), np.stack(counts, axis=1).astype(np.float64)


def deal(counts: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The part of each patient `(P,)`. counts: `(P, K)` rows by class; shares: `(parts,)`, together 1.

    Every part gets a patient of every class as far as they go, and comes near its share of the rows of each.
    """
    part_of = np.full(len(counts), -1, dtype=np.int64)
    total = counts.sum(axis=0)
    given = np.zeros((len(shares), counts.shape[1]))

    def give(patient: int, part: int) -> None:
        part_of[patient] = part
        given[part] += counts[patient]

    order = rng.permutation(len(counts))
    # first every part gets a patient of every class, the rarest class first and the smallest patients first
    by_size = order[np.argsort(counts[order].sum(axis=1), kind="stable")]
    for k in np.argsort((counts > 0).sum(axis=0), kind="stable"):
        for part in np.argsort(-shares, kind="stable"):
            if given[part, k] == 0:
                free = (p for p in by_size if part_of[p] < 0 and counts[p, k] > 0)
                patient = next(free, None)
                if patient is not None:
                    give(int(patient), int(part))
    kinds: dict[bytes, list[int]] = defaultdict(list)
    for patient in order:
        if part_of[patient] < 0:
            kinds[counts[patient].tobytes()].append(int(patient))
    left: list[int] = []
    for alike in kinds.values():
        start = 0
        for part, share in enumerate(shares):
            end = start + int(share * len(alike))
            chosen = alike[start:end]
            part_of[chosen] = part
            given[part] += counts[chosen].sum(axis=0)
            start = end
        left += alike[start:]
    # who is left over, the largest first, goes where most is missing of what they bring
    for patient in sorted(left, key=lambda p: -counts[p].sum()):
        missing = (shares[:, None] * total - given) / total
        give(patient, int(np.argmax((missing * counts[patient]).sum(axis=1))))
    return part_of
