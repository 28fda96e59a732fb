"""Are the image files fit to learn from: readable, not empty, of one scale, without text, their form not telling the class?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection
from medfusion_jupyter.data.checks.pictures import Look, Pictures
from medfusion_jupyter.data.checks.predictability import Predictability, bins_of
from medfusion_jupyter.data.checks.shortcuts import by_acquisition, is_suspicious
from medfusion_jupyter.data.errors import rows_in_words

EMPTY = 0.99
"""An image with one grey value in this share of its pixels or more shows nothing."""

SPACING_RANGE = 2.0
ASPECT_RANGE = 1.5
DISTINCT_SIZES = 50

FORMS: dict[str, Callable[[Look], Any]] = {
    "image size": lambda look: "x".join(map(str, look.header.size)),
    "image shape": lambda look: look.header.size[1] / look.header.size[0],
    "image area": lambda look: look.header.size[1] * look.header.size[0],
    "file format": lambda look: look.header.kind,
    "bit depth": lambda look: look.header.deep,
    "channels": lambda look: look.header.channels,
    "pixel spacing": lambda look: None if look.header.spacing is None else look.header.spacing[0],
    "burned-in text": lambda look: look.text > 0,
}
"""What of an image's form may tell the class."""


def check_images(inspection: Inspection) -> Iterator[Finding]:
    """Unreadable, absent and empty images, text, spacing, and whether the form of the image gives the class away."""
    pictures = inspection.pictures
    if pictures is None:
        return
    yield from _absent(inspection)
    yield from _unreadable(pictures)
    if pictures.readable:
        yield from _kinds(pictures)
        yield from _empty(pictures)
        yield from _text(pictures)
        yield from _scale(pictures)
        yield from _forms(inspection, pictures)


def _absent(inspection: Inspection) -> Iterator[Finding]:
    cohort = inspection.cohort
    absent = (cohort.images == np.asarray(None)).all(axis=(0, 2))
    if not absent.any():
        return
    found = inspection.predictability.of(absent[inspection.rows].astype(np.int64))
    telling = is_suspicious(found)
    yield Finding(
        "warning" if telling else "note",
        "images",
        "missing images",
        f"{int(absent.sum()):,} of {len(cohort):,} rows have no image"
        + (
            f", and this alone tells the class {found.class_name!r}: {found}." if telling and found is not None else "."
        ),
        "A model may learn who was imaged at all." if telling else "These rows are learned from by their table alone.",
        "Find the missing files, or leave those rows out.",
    )


def _unreadable(pictures: Pictures) -> Iterator[Finding]:
    bad = pictures.unreadable
    if bad:
        rows = [row for row, _ in bad]
        yield Finding(
            "warning",
            "images",
            "unreadable files",
            f"{len(bad):,} of {len(pictures.rows):,} image files cannot be decoded ({rows_in_words(rows)}). Of the first it is "
            f"said: {bad[0][1]}",
            "They would count as absent.",
            "Mend those files; mf.read_image(path) says what is wrong with one.",
        )


def _kinds(pictures: Pictures) -> Iterator[Finding]:
    """Files that cannot be learned from together."""
    volumes = [row for row, look in pictures.readable if look.volume]
    flat = [row for row, look in pictures.readable if not look.volume]
    if volumes and flat:
        fewer, rows = min((("volumes", volumes), ("flat images", flat)), key=lambda kind: len(kind[1]))
        yield Finding(
            "error",
            "images",
            "flat and volumes",
            f"{len(rows):,} of {len(pictures.readable):,} images are {fewer} among the others ({rows_in_words(rows)}).",
            "A model takes one of the two: files of the other kind would count as absent.",
            "Keep one kind: save the slice that matters of a volume as an image, or leave the path of the others empty.",
        )
    channels = {look.header.channels: row for row, look in reversed(pictures.readable)}
    if len(channels) > 1 and (volumes or not set(channels) <= {1, 3}):
        yield Finding(
            "error",
            "images",
            "channels",
            "They have different numbers of channels: "
            f"{' and '.join(f'{count} (as row {row})' for count, row in sorted(channels.items()))}, from 0.",
            "All must have the same number, only flat images in grey (1) and colours (3) go together: training would not begin.",
            "Write all with as many, or leave the path of the others empty.",
        )


def _empty(pictures: Pictures) -> Iterator[Finding]:
    empty = [row for row, look in pictures.readable if look.one_grey >= EMPTY]
    if empty:
        yield Finding(
            "warning",
            "images",
            "empty images",
            f"{len(empty):,} of {len(pictures.readable):,} images have one grey value in at least {EMPTY:.0%} of their pixels "
            f"({rows_in_words(empty)}).",
            "There is nothing to see in them; the model learns their class from nothing.",
            "Look at those images; leave their image path empty where the export failed.",
        )


def _text(pictures: Pictures) -> Iterator[Finding]:
    text = [row for row, look in pictures.readable if look.text]
    if text:
        yield Finding(
            "note",
            "images",
            "burned-in text",
            f"{len(text):,} of {len(pictures.readable):,} images seem to have words burned in ({rows_in_words(text)}).",
            "Words can name the patient, the ward or the diagnosis; a model reads them too. Wires and implants can look alike.",
            "Look at those images. Remove names before sharing anything, and mask words that only some patients have.",
        )


def _scale(pictures: Pictures) -> Iterator[Finding]:
    looks = [look for _, look in pictures.readable]
    spacings = [look.header.spacing for look in looks if look.header.spacing is not None]
    impossible = sum(min(spacing) <= 0 for spacing in spacings)
    if impossible:
        yield Finding(
            "warning",
            "images",
            "pixel spacing",
            f"{impossible:,} images say that their pixels are 0 mm or less apart.",
            "Sizes measured in them are wrong.",
            "Correct the spacing in those files, or export them anew.",
        )
    for axis in range(max(map(len, spacings), default=0) - 1):
        known = np.asarray([spacing[axis] for spacing in spacings if len(spacing) > axis + 1 and spacing[axis] > 0])
        volumes = any(len(spacing) == 3 for spacing in spacings)
        what = "Slices" if volumes and axis == 0 else "Pixels"
        if len(known) and known.max() / known.min() > SPACING_RANGE:
            yield Finding(
                "warning",
                "images",
                "pixel spacing",
                f"{what} are between {known.min():.3g} and {known.max():.3g} mm apart.",
                "The same lesion has another size in pixels from image to image, and the spacing may tell the scanner.",
                "Train with spacing=, in mm, which resamples the volumes to one."
                if volumes
                else "Crop or resample the images to one field of view first.",
            )
    if 0 < len(spacings) < len(looks):
        yield Finding(
            "note",
            "images",
            "pixel spacing",
            f"{len(looks) - len(spacings):,} of {len(looks):,} images do not say how far apart their pixels are.",
            "Whether they are of the same scale as the others cannot be told.",
            "Compare a few of both kinds by eye.",
        )
    aspect = np.asarray([look.header.size[1] / look.header.size[0] for look in looks])
    if aspect.max() / aspect.min() > ASPECT_RANGE:
        yield Finding(
            "note",
            "images",
            "image shape",
            f"Width to height goes from {aspect.min():.2f} to {aspect.max():.2f}.",
            "Each image is drawn to a square, so the same organ gets another shape from image to image.",
            "Crop the images to one shape first.",
        )


def _forms(inspection: Inspection, pictures: Pictures) -> Iterator[Finding]:
    """The form that tells the class best is reported; the others mostly say the same."""
    cohort = inspection.cohort
    rows = np.asarray([row for row, _ in pictures.readable])
    looks = [look for _, look in pictures.readable]
    asked = cohort.target.outcomes(cohort.targets[rows])
    judge = Predictability(asked, cohort.patient_codes[rows], seed=inspection.seed)
    found = []
    for name, form in FORMS.items():
        values = pd.Series([form(look) for look in looks])
        if values.nunique() > 1 and not (values.dtype == object and values.nunique() > DISTINCT_SIZES):
            predicts = judge.of(bins_of(values))
            if predicts is not None and is_suspicious(predicts):
                found.append((predicts.area.value, name, predicts))
    if found:
        _, name, predicts = max(found, key=lambda one: one[0])
        yield by_acquisition(inspection, name, predicts)
