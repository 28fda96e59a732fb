"""Files that are there whole or not at all: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import fcntl
import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

TEMPORARY = re.compile(r"\..*\.[0-9a-f]{32}\.tmp")
"""Names that `write_durably` gives until a file is whole."""


def write_durably(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in its place; on any error nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def lock(file: IO[bytes]) -> bool:
    """Whether nobody held `file`, which is then ours until it is closed, however its process ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody does, or the file system knows no locks
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, durably."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_durably(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, durably."""
    write_text(path, json.dumps(value, indent=1))
