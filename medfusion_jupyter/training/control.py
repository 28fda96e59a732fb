"""Commands to a run, from the thread that hears of them to the thread that trains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any


class Stopped(Exception):
    """The run was told to stop."""


class Abandoned(Exception):
    """Another process has taken this job over, so this run ends and writes nothing more."""


class Control:
    """Hands commands to a training loop, which asks `if control.attention: control.obey(…)` each batch."""

    def __init__(self) -> None:
        self.attention = False
        self._changed = threading.Condition()
        self._paused = False
        self._ending: type[Exception] | None = None
        self._changes: dict[str, Any] = {}
        self._checkpoint = False
        self._unheard: list[tuple[str, dict[str, Any]]] = []

    def deliver(self, command: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Take a command (`pause`, `resume`, `stop`, `checkpoint`, or `set` with settings) from any thread."""
        with self._changed:
            if command == "pause":
                self._paused = True
            elif command == "resume":
                self._paused = False
            elif command == "stop":
                self._ending = self._ending or Stopped
            elif command == "checkpoint":
                self._checkpoint = True
            elif command == "set":
                self._changes.update(arguments or {})
            else:
                raise ValueError(
                    f"A run knows no command {command!r}; it knows pause, resume, stop, checkpoint and set."
                )
            self._unheard.append((command, dict(arguments or {})))
            self._tell()

    def abandon(self) -> None:
        """Make the run end without a further word to the store."""
        with self._changed:
            self._ending = Abandoned
            self._tell()

    def raise_if_ending(self) -> None:
        """Raise Stopped or Abandoned where the run is to end."""
        if self._ending is not None:
            raise self._ending

    def obey(self, on_pause: Callable[[], None], on_resume: Callable[[], None]) -> None:
        """Called by the training thread between batches: waits while paused, raises Stopped or Abandoned."""
        with self._changed:
            # cleared first: what is delivered from here on raises it again
            self.attention = False
            self._hear()
            self.raise_if_ending()
            if not self._paused:
                return
        on_pause()
        with self._changed:
            while self._paused and self._ending is None:
                self._wait_for_word()
            self._hear()
            self.attention = self._paused or self._ending is not None
        self.raise_if_ending()
        on_resume()

    def take_changes(self) -> dict[str, Any]:
        """The settings that were changed since the last call."""
        with self._changed:
            changes, self._changes = self._changes, {}
            self._unheard = [asked for asked in self._unheard if asked[0] != "set"]
            return changes

    def take_checkpoint(self) -> bool:
        """Whether a checkpoint was asked for since the last call."""
        with self._changed:
            wanted, self._checkpoint = self._checkpoint, False
            return wanted

    def unheard(self) -> list[tuple[str, dict[str, Any]]]:
        """What was asked for when the run had looked for the last time, in order, with its arguments."""
        with self._changed:
            return list(self._unheard)

    def _hear(self) -> None:
        # settings are taken over later, where the run goes on
        self._unheard = [asked for asked in self._unheard if asked[0] == "set"]

    def _wait_for_word(self) -> None:
        self._changed.wait()

    def _tell(self) -> None:
        self.attention = True
        self._changed.notify_all()
