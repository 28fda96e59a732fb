"""Which columns are known only after the outcome? A model that learns from them is perfect until it is used."""

from __future__ import annotations

from collections.abc import Iterator

from medfusion_jupyter.data.checks.findings import Finding
from medfusion_jupyter.data.checks.inspection import Inspection
from medfusion_jupyter.data.checks.predictability import Predicts, bins_of, filled
from medfusion_jupyter.data.checks.words import ACQUISITION, OUTCOME, PART, TIME, words_of

NEARLY_PERFECT = 0.95
STRONG = 0.8


def check_outcomes(inspection: Inspection) -> Iterator[Finding]:
    """Columns named like an outcome or like the target, times that go with it, and columns that give it away."""
    cohort = inspection.cohort
    about_target = words_of(" ".join(cohort.target.columns)) - TIME
    for column in [*cohort.numeric, *cohort.categorical, *inspection.others]:
        values = cohort.frame[column].iloc[inspection.rows]
        words = words_of(column)
        if not values.notna().any() or words & PART:
            continue
        by_value = inspection.predictability.of(bins_of(values))
        by_presence = inspection.predictability.of(filled(values))
        reasons, shown = [], False
        if words & about_target:
            reasons.append("its name shares a word with the target")
        elif words & OUTCOME:
            reasons.append("its name is that of an outcome")
        if words & TIME and _at_least(by_presence, STRONG):
            shown = True
            reasons.append(f"it is a time that is filled in by class: {by_presence}")
        elif by_presence is not None and _at_least(by_presence, NEARLY_PERFECT):
            shown = True
            reasons.append(f"whether it is filled in gives the class {by_presence.class_name!r} away: {by_presence}")
        elif by_value is not None and _at_least(by_value, NEARLY_PERFECT) and not words & ACQUISITION:
            shown = True
            reasons.append(f"alone it gives the class {by_value.class_name!r} away: {by_value}")
        if reasons:
            yield _finding(inspection, column, reasons, shown=shown)


def _at_least(found: Predicts | None, value: float) -> bool:
    # the interval must leave chance behind as well, or a few patients would be enough
    return found is not None and found.area.value >= value and found.area.low > 0.6


def _finding(inspection: Inspection, column: str, reasons: list[str], *, shown: bool) -> Finding:
    """shown: the values speak for it, not the name alone."""
    used = column in inspection.features
    return Finding(
        ("error" if shown else "warning") if used else "note",
        "outcomes",
        column,
        f"It may be known only after the outcome: {'; '.join(reasons)}.",
        "What is not known when the model is asked cannot be learned from: the model would look perfect and fail in use."
        if used
        else "The model does not see it now. Were it listed under numeric or categorical, the model would look perfect and fail.",
        f"Take {column!r} out of the columns to learn from, unless it is known when the prediction is made."
        if used
        else "Keep it out, unless it is known when the prediction is made.",
    )
