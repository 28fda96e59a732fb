"""Has the training part something of everything that is learned?"""

from __future__ import annotations

from collections.abc import Iterator

from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection
from medfusion_jupyter.data.image_columns import TABLE
from medfusion_jupyter.data.training_part import absent_modalities, unseen_strata


def check_training_part(inspection: Inspection) -> Iterator[Finding]:
    """Of a split: modalities that no row of the training part has, and classes that only other parts have."""
    split = inspection.split
    if split is None:
        return
    for name in absent_modalities(split):
        what = "a value in a column of the table" if name == TABLE else "an image" + f" {name!r}" * (name != "image")
        yield Finding(
            "error",
            "training part",
            name,
            f"No row of the training part has {what}.",
            "What is never seen in training is not learned, and training would not begin.",
            "Split so that the training part has some, or make the cohort without it.",
        )
    for name, part in unseen_strata(split).items():
        yield Finding(
            "error",
            "training part",
            split.cohort.target.name,
            f"{name!r} is in the part {part!r}, but in no row of the training part.",
            "What is never seen in training is not learned, and training would not begin.",
            "Split so that every part has it, or leave it out.",
        )
