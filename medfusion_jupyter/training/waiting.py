"""Waiting for what goes on in the background, with a line of its progress: `handle.wait()` and `await handle`."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Self

LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Progress:
    """How far something is.

    share: 0 to 1; words: said beside the bar; state: such as `job_0001 is running`; ended: nothing is left to wait for; failed:
    what is raised then.
    """

    share: float
    words: str
    state: str
    ended: bool
    failed: Exception | None = None


class Awaited(ABC):
    """A handle that can be waited for. Whatever ends the waiting, an interrupt too, leaves alone what it waits for."""

    @abstractmethod
    def _progress(self) -> Progress:
        """How far it is now."""

    def _end(self) -> threading.Event | None:
        """What is set when it ends, where that is in this process."""
        return None

    def wait(self, timeout: float | None = None) -> Self:
        """Return when it has ended, showing its progress; interrupting the wait leaves it running.

        timeout: seconds; TimeoutError after it. Raises where it failed or was interrupted, with what is known of it. `await`
        waits as well, and a notebook's buttons answer meanwhile.
        """
        with closing(self._looks(timeout)) as looks:  # an interrupt ends the line of progress too
            for pause in looks:
                end = self._end()
                if end is None or end.is_set():
                    time.sleep(pause)
                else:
                    end.wait(pause)
        return self

    def __await__(self) -> Generator[object, None, Self]:
        """As `wait`, without keeping the kernel's loop busy: a kernel serves no click on a widget while a cell blocks."""

        async def waited() -> Self:
            with closing(self._looks(None)) as looks:
                for pause in looks:
                    await asyncio.sleep(pause)
            return self

        return waited().__await__()

    def _looks(self, timeout: float | None) -> Generator[float]:
        """Show the progress; gives the seconds to wait before each further look."""
        from tqdm import tqdm

        until = None if timeout is None else time.monotonic() + timeout
        # standard output: a notebook paints the error stream red
        with tqdm(total=100.0, file=sys.stdout, bar_format="{percentage:3.0f}%|{bar:24}| {desc}") as bar:
            while True:
                progress = self._progress()
                bar.n = round(100 * progress.share, 1)
                bar.set_description_str(progress.words)
                if progress.ended:
                    break
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{progress.state} after {timeout} s; it goes on in the background.")
                yield LOOK_SECONDS if left is None else min(LOOK_SECONDS, left)
        if progress.failed is not None:
            raise progress.failed
