"""What a cohort refuses, and the words that it says it with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class CohortError(ValueError):
    """Data that cannot be learned from as it is; the message names the column, file or value and says what to do."""


MOST_ROWS = 5
"""So many rows at most are listed in a message."""


def rows_in_words(rows: Sequence[int]) -> str:
    """`rows 3, 17, from 0`; of many the first."""
    listed = ", ".join(map(str, rows[:MOST_ROWS])) + (", …" if len(rows) > MOST_ROWS else "")
    return f"row{'' if len(rows) == 1 else 's'} {listed}, from 0"


def closest(wanted: str, there: Iterable[str]) -> str:
    """` Did you mean 'x'?` where something in `there` is near, else nothing."""
    near = difflib.get_close_matches(wanted, list(there), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
