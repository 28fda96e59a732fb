"""What a text may be, alike on every database: SQLite alone would take any length, PostgreSQL alone refuses NUL."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medfusion_jupyter.store.errors import BadValue

NAME_LENGTH = 200
TEXT_LENGTH = 10_000
TAG_LENGTH = 100
MAX_TAGS = 100
METRIC_LENGTH = 100
FINGERPRINT_LENGTH = 64
_PRINTABLE = re.compile(r"[^\x00-\x1f\ud800-\udfff]*").fullmatch
"""PostgreSQL takes no NUL, and no database half a character."""


def valid_name(field: str, name: str) -> str:
    """`name` where it can be one: 1 to 200 characters, not all blank. Raises BadValue naming `field`."""
    if not name.strip():
        raise BadValue(f"{field}={name[:40]!r} is blank: give 1 to {NAME_LENGTH} characters.")
    return valid_text(field, name, NAME_LENGTH)


def valid_text(field: str, text: str, limit: int = TEXT_LENGTH) -> str:
    """`text` where it can be stored: `limit` characters at most, none of them NUL or half of a surrogate pair."""
    if len(text) > limit:
        raise BadValue(f"{field} has {len(text):,} characters ({text[:40]!r}…): {limit:,} is the most.")
    return storable(field, text)


def storable(field: str, text: str) -> str:
    """`text` where every database takes it, of whatever length. Raises BadValue naming `field`."""
    if "\0" in text:
        raise BadValue(f"{field}={text[:40]!r} has a NUL character, which no database keeps.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadValue(f"{field} has half a character at {error.start}: {text[:40]!r} is no valid Unicode.") from None
    return text


def valid_metric(field: str, name: str) -> str:
    """`name` where it can name a metric: 1 to 100 characters, no control characters. Raises BadValue."""
    if not 0 < len(name) <= METRIC_LENGTH or not _PRINTABLE(name):
        raise BadValue(
            f"{field}={name[:40]!r} cannot name a metric: give 1 to {METRIC_LENGTH} characters, no control characters."
        )
    return name


def valid_tags(tags: Sequence[str]) -> list[str]:
    """Tags without repetition, each of 1 to 100 characters, 100 at most. Raises BadValue."""
    if len(tags) > MAX_TAGS:
        raise BadValue(f"{len(tags)} tags are too many: {MAX_TAGS} is the most.")
    for tag in tags:
        if not tag.strip():
            raise BadValue(f"tags={tag!r} is blank: leave it out.")
        valid_text("tags", tag, TAG_LENGTH)
    return list(dict.fromkeys(tags))
