"""Files of a row that is deleted: both go, or neither."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medfusion_jupyter.store.errors import Elsewhere
from medfusion_jupyter.store.location import home

TRASH = "trash"
LEFT_BEHIND_SECONDS = 60.0
"""A deletion takes moments: what lies in the trash for longer was left there by a process that was killed."""


@contextmanager
def discarding(paths: Iterable[Path]) -> Iterator[None]:
    """Move files or folders out of the way; they are deleted when the block ends well, and put back when it does not.

    The deletion of the row is to be committed within the block. Raises Elsewhere for a path outside MEDFUSION_HOME.
    """
    root = home().resolve()
    folder = root / TRASH / uuid.uuid4().hex
    moved: list[tuple[Path, Path]] = []
    try:
        for path in paths:
            there = path.resolve()
            if not there.is_relative_to(root) or there == root:
                raise Elsewhere(f"{path} is not in {root}: nothing outside MEDFUSION_HOME is deleted.")
            if there.exists():
                aside = folder / there.relative_to(root)
                aside.parent.mkdir(parents=True, exist_ok=True)
                os.replace(there, aside)
                moved.append((there, aside))
        yield
    except BaseException:
        for there, aside in reversed(moved):
            os.replace(aside, there)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def recover(is_wanted: Callable[[Path], bool]) -> None:
    """Put back what a killed deletion moved aside, where `is_wanted(path)` says that its row is still there; clear the rest."""
    root = home().resolve()
    for folder in (root / TRASH).glob("*"):
        if time.time() - folder.stat().st_mtime < LEFT_BEHIND_SECONDS:
            continue
        # the rows name folders two or three levels down: jobs/<job_id>, models/<job_id>/<run>
        for aside in [*folder.glob("jobs/*"), *folder.glob("models/*/*")]:
            there = root / aside.relative_to(folder)
            if is_wanted(there) and not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                os.replace(aside, there)
        shutil.rmtree(folder, ignore_errors=True)
