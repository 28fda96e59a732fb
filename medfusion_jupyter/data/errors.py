"""What a cohort refuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CohortError(ValueError):
    """Data that cannot be learned from as it is; the message names the column, file or value and says what to do."""


def closest(wanted: str, there: Iterable[str]) -> str:
    """` Did you mean 'x'?` where something in `there` is near, else nothing."""
    near = difflib.get_close_matches(wanted, list(there), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
