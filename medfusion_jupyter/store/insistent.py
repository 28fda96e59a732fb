"""Writes that must not be lost to a database that is locked or away for a while."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from medfusion_jupyter.store.errors import DatabaseTrouble

log = logging.getLogger("medfusion")

PATIENCE_SECONDS = 600.0
PAUSE_SECONDS = 0.5

Repository = TypeVar("Repository")
Result = TypeVar("Result")


def insist(call: Callable[[], Result], patience: float | None = None) -> Result:
    """What `call` gives; while it raises DatabaseTrouble it is called again, with a warning, and after `patience` seconds not.

    By default PATIENCE_SECONDS. Raises what `call` raises. A write that the database does not take leaves nothing behind, so
    it can be made again.
    """
    until = time.monotonic() + (PATIENCE_SECONDS if patience is None else patience)
    warned = False
    while True:
        try:
            result = call()
        except DatabaseTrouble as trouble:
            if time.monotonic() >= until:
                raise
            if not warned:
                minutes = (until - time.monotonic()) / 60
                log.warning("%s The training waits, and tries again for %.0f minutes.", trouble, minutes)
                warned = True
            time.sleep(PAUSE_SECONDS)
        else:
            if warned:
                log.warning("The database takes what is written to it again; the training goes on.")
            return result


def insistent(repository: Repository) -> Repository:
    """The same repository, each of whose calls goes through `insist`."""
    return cast(Repository, _Insistent(repository))


class _Insistent:
    def __init__(self, repository: object) -> None:
        self._repository = repository

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._repository, name)

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return insist(lambda: method(*args, **kwargs))

        return call
