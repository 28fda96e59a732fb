"""Can the target be told without medicine: from the site, the scanner, the projection, or one column alone?"""

from __future__ import annotations

from collections.abc import Iterator

from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection
from medfusion_jupyter.data.checks.outcomes import NEARLY_PERFECT
from medfusion_jupyter.data.checks.predictability import Predicts, bins_of, filled
from medfusion_jupyter.data.checks.words import ACQUISITION, OUTCOME, PART, words_of

SUSPICIOUS = 0.7
"""An AUROC from this on, with an interval that leaves 0.55 behind, is worth a warning for how an image was taken."""

STRONG = 0.8


def check_shortcuts(inspection: Inspection) -> Iterator[Finding]:
    """How the image was taken, and single columns, by their cross-validated AUROC."""
    cohort = inspection.cohort
    for column in [*cohort.numeric, *cohort.categorical, *inspection.others]:
        values = cohort.frame[column].iloc[inspection.rows]
        words = words_of(column)
        if not values.notna().any() or words & (PART | OUTCOME | words_of(" ".join(cohort.target.columns))):
            continue
        found = inspection.predictability.of(bins_of(values))
        if words & ACQUISITION:
            if found is not None and is_suspicious(found):
                yield by_acquisition(inspection, column, found)
            continue
        if column not in inspection.features:
            continue
        by_presence = inspection.predictability.of(filled(values))
        if by_presence is not None and STRONG <= by_presence.area.value < NEARLY_PERFECT and by_presence.area.low > 0.6:
            yield Finding(
                "warning",
                "shortcuts",
                column,
                f"Whether it is filled in tells the class {by_presence.class_name!r}: {by_presence}.",
                "A value that is measured because somebody was already worried tells the worry, not the disease.",
                "Ask when and for whom it is measured. Leave it out, or keep it knowing that it will not carry over to where it "
                "is measured for all.",
            )


def is_suspicious(found: Predicts | None) -> bool:
    """Whether an AUROC is high enough to be more than chance and to matter."""
    return found is not None and found.area.value >= SUSPICIOUS and found.area.low > 0.55


def by_acquisition(inspection: Inspection, where: str, found: Predicts) -> Finding:
    """The finding that `where`, something about how the image was taken, tells the class."""
    how = "nearly gives" if found.area.value >= STRONG else "partly gives"
    seen = "An image shows how it was taken, so the model can learn this even where the column is left out. "
    return Finding(
        "warning",
        "shortcuts",
        where,
        f"It {how} the class {found.class_name!r} away: alone {found}.",
        (seen if inspection.cohort.views else "")
        + "A model that learns it does well here and fails where patients are imaged in another way.",
        f"Report the AUROC within each value of {where} too, train on one value of it, or balance the classes in it.",
    )
