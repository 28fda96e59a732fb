"""One thread a kernel keeps all open monitors up to date."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

log = logging.getLogger("medfusion")

SECONDS = 0.5


class Followed(Protocol):
    """What the thread refreshes."""

    def refresh(self) -> bool:
        """Show what is new; False where nothing more will come."""

    def show_problem(self, problem: Exception) -> None:
        """Tell that a refresh did not work."""


class Refresher:
    """Calls `refresh` twice a second while there is something to follow; what is closed or forgotten is let go."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._followed: weakref.WeakSet[Followed] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def follow(self, one: Followed) -> None:
        """Keep `one` up to date from now on, at once for the first time."""
        with self._lock:
            self._followed.add(one)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="medfusion-refresher", daemon=True)
                self._thread.start()
        self._wake.set()

    def _serve(self) -> None:
        while True:
            with self._lock:
                followed = list(self._followed)
                if not followed:
                    self._thread = None
                    return
            for one in followed:
                self._refresh(one)
            # no strong reference while it waits: a forgotten monitor must be able to go
            followed = one = None  # type: ignore[assignment]
            self._wake.wait(self._seconds)
            self._wake.clear()

    def _refresh(self, one: Followed) -> None:
        try:
            if not one.refresh():
                with self._lock:
                    self._followed.discard(one)
        except Exception as problem:  # whatever it is, it is shown, and the other monitors go on
            log.debug("a monitor could not be refreshed", exc_info=True)
            one.show_problem(problem)


refresher = Refresher()
