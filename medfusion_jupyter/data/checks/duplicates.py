"""Is an image there twice, or nearly, under other names, other patients or on two sides of a split?"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection
from medfusion_jupyter.data.checks.perceptual_hash import near_pairs

BITS, CORRELATION = 36, 0.94
"""Measured on 243 chest radiographs: different films, of one patient too, differ in 60 bits or more of 255; a film saved anew as
JPEG, at half its size, with other brightness or cropped by 1 % in 36 at most, and its thumbnail correlates by 0.94 at least."""

PART = 65_536
"""Bytes that are compared first, before whole files are read."""

FILES = 50_000
"""Files that are compared byte by byte."""

Pair = tuple[int, int]


def check_duplicates(inspection: Inspection) -> Iterator[Finding]:
    """Images with the same bytes, and images that look the same."""
    pictures = inspection.pictures
    if pictures is None:
        return
    same = set(_same_files(inspection))
    yield from _findings(inspection, same, "the same image", "duplicates")
    readable = [(row, look) for row, look in pictures.readable if look.one_grey < 0.9]
    if len(readable) < 2:
        return
    hashes = np.stack([look.hash for _, look in readable])
    thumbs = np.stack([look.thumb for _, look in readable])
    near = {(readable[i][0], readable[j][0]) for i, j in near_pairs(hashes, thumbs, bits=BITS, correlation=CORRELATION)}
    yield from _findings(inspection, near - same, "nearly the same image", "near-duplicates")


def _same_files(inspection: Inspection) -> Iterator[Pair]:
    """Pairs of rows whose images have the same bytes; rows that name one file are pairs too."""
    rows_of: dict[Path, list[int]] = defaultdict(list)
    cohort = inspection.cohort
    for row, path in zip(cohort.image_rows.tolist(), cohort.image_paths, strict=True):
        if path is not None:
            rows_of[path].append(row)
    files = list(rows_of)
    if len(files) > FILES:
        chosen = np.random.default_rng(inspection.seed).choice(len(files), FILES, replace=False)
        files = [files[k] for k in chosen]
    groups: list[list[Path]] = [[path for path in files if not _is_empty(path)]]
    ways: tuple[Callable[[Path], Hashable], ...] = (_size, _start, _digest)
    for tell in ways:
        groups = [alike for group in groups for alike in _grouped(group, tell) if len(alike) > 1]
    for rows in rows_of.values():
        yield from pairwise(rows)
    for group in groups:
        firsts = sorted(rows_of[path][0] for path in group)
        yield from pairwise(firsts)


def _grouped(files: Iterable[Path], tell: Callable[[Path], Hashable]) -> list[list[Path]]:
    groups: dict[Hashable, list[Path]] = defaultdict(list)
    for path in files:
        try:
            groups[tell(path)].append(path)
        except OSError:
            continue
    return list(groups.values())


def _is_empty(path: Path) -> bool:
    """A file without a byte is no image: that is told with those that cannot be decoded."""
    try:
        return _size(path) == 0
    except OSError:
        return True


def _size(path: Path) -> int:
    return path.stat().st_size


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(PART)).digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _findings(inspection: Inspection, pairs: set[Pair], what: str, check: str) -> Iterator[Finding]:
    cohort = inspection.cohort
    pairs = {(one, other) for one, other in pairs if one != other}  # not the views or the bag of one row
    if not pairs:
        return
    both = np.asarray(sorted(pairs))
    same_patient = cohort.patient_codes[both[:, 0]] == cohort.patient_codes[both[:, 1]]
    one, other = (cohort.targets[both[:, side]].reshape(len(both), -1) for side in (0, 1))
    other_class = ((one != other) & ~(np.isnan(one) & np.isnan(other))).any(axis=1)
    sided = np.zeros(len(both), dtype=bool)
    if inspection.split is not None:
        part = np.full(len(cohort), -1)
        for k, rows in enumerate(inspection.split.rows.values()):
            part[rows] = k
        sided = (part[both[:, 0]] != part[both[:, 1]]) & (part[both] >= 0).all(axis=1)
    if sided.any():
        yield Finding(
            "error",
            check,
            "split",
            f"{_pairs(sided)} with {what} in two parts of the split ({_example(both[sided])}).",
            "An image that is learned by heart is tested on: the test flatters the model.",
            "Give both rows the same patient, or leave one out, and split again.",
        )
    across = ~same_patient
    if across.any():
        yield Finding(
            "error",
            check,
            "images",
            f"{_pairs(across)} of different patients with {what} ({_example(both[across])}).",
            "Either the patient or the file is wrong; a split by patient will put the image on two sides.",
            "Look at those rows; correct the patient or the path, or leave one out.",
        )
    if other_class.any():
        named = "classes" if cohort.classes else "targets"
        yield Finding(
            "error",
            check,
            cohort.target.name,
            f"{_pairs(other_class)} of different {named} with {what} ({_example(both[other_class])}).",
            "The same image cannot teach two classes; one of the labels is wrong, or the target is not one of the image.",
            "Correct the class, or leave one of the rows out.",
        )
    within = same_patient & ~other_class
    if within.any():
        yield Finding(
            "note",
            check,
            "images",
            f"{_pairs(within)} of one patient with {what} ({_example(both[within])}).",
            "The image counts twice, in training and in every metric.",
            "Leave one of the rows out.",
        )


def _pairs(mask: np.ndarray) -> str:
    count = int(mask.sum())
    return f"{count:,} pair{'' if count == 1 else 's'} of rows"


def _example(pairs: np.ndarray) -> str:
    return f"rows {pairs[0, 0]} and {pairs[0, 1]}" + (", …" if len(pairs) > 1 else "") + ", from 0"
