"""What the name of a column says about it: words that stand for an outcome, for how an image was taken, for a patient."""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


OUTCOME = _set(
    "death died dead deceased mortality survival survived surviving alive outcome discharge discharged release released icu "
    "intensive intubation intubated extubation extubated ventilated ventilation readmission readmitted relapse recurrence "
    "progression followup histology histopathology pathology biopsy autopsy diagnosis los stay endpoint censored "
    "censoring event label"
)
"""Words for what is known only afterwards."""

TIME = _set("offset date time datetime timestamp day days hour hours week weeks month months year years")
"""Words for when something happened."""

ACQUISITION = _set(
    "site hospital centre center clinic institution ward department scanner manufacturer vendor device station machine "
    "detector modality projection view position portable bedside protocol kernel kvp exposure tesla coil sequence"
)
"""Words for where and how an image was taken."""

PATIENT = _set("patient patients subject participant person mrn pid case patientid subjectid")
"""Words for who it is."""

PART = _set("split fold part partition subset set")
"""Words for a side of a split."""


def words_of(name: str) -> set[str]:
    """The words of a column's name in lower case: `icuAdmission_offset` -> icu, admission, offset."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return {word for word in re.split(r"[^a-z]+", apart.lower()) if word}
