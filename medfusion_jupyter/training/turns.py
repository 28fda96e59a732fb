"""One run at a time in a process: a second job waits its turn."""

from __future__ import annotations

import atexit
import signal
import threading
from collections import deque
from contextlib import suppress
from typing import Protocol


class Turn(Protocol):
    """What can be queued."""

    def work(self) -> None:
        """Do it all; never raises."""

    def leave_at_exit(self) -> None:
        """The process ends: say so where it matters, and stop working."""


class Turns:
    """Runs what is submitted, in order, on one daemon thread that lives while there is work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Turn] = deque()
        self._current: Turn | None = None
        self._thread: threading.Thread | None = None
        atexit.register(self._leave)

    def submit(self, turn: Turn) -> None:
        with self._lock:
            self._waiting.append(turn)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="medfusion-training", daemon=True)
                self._thread.start()

    def withdraw(self, turn: Turn) -> bool:
        """Take `turn` out of the queue; False where it has begun or ended."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return True
            return False

    def _serve(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = self._current = None
                    return
                self._current = self._waiting.popleft()
            self._current.work()

    def _leave(self) -> None:
        # an interrupt must not break off the last words
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        with self._lock:
            leaving = [*([self._current] if self._current else []), *self._waiting]
            self._waiting.clear()
            thread = self._thread
        for turn in leaving:
            turn.leave_at_exit()
        if thread is not None:
            # a thread inside torch while the interpreter is torn down can crash it: give it time for one batch
            thread.join(timeout=5)


turns = Turns()
