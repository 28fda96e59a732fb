"""`medfusion worker`: works off the queue without a Jupyter server, each job and execution in a process of its own.

It may run beside servers and other workers of the same home: what is launched is taken by one of them.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medfusion_jupyter.server.launchable import Launchable
from medfusion_jupyter.server.queue_watch import BELL_SECONDS, WAITING_SECONDS, bell, seconds_to_wait
from medfusion_jupyter.server.resources import visible_gpus
from medfusion_jupyter.store.errors import StoreError

if TYPE_CHECKING:
    from types import FrameType

    from medfusion_jupyter.store import Store

log = logging.getLogger("medfusion")

LOOK_SECONDS = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Worker:
    """Takes what is due from the queue, as long as there is a place, until it is told to end.

    jobs_at_once: 0 is one a GPU, or one. The first SIGINT or SIGTERM ends it in good order: nothing more is taken, and its
    jobs are stopped, which saves them and keeps their best epoch. After a second one they go on without it.
    """

    store: Store
    jobs_at_once: int = 0
    _running: dict[subprocess.Popen[bytes], Launchable] = field(default_factory=dict)
    _signals: int = 0
    _woken: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Work until a signal says otherwise. Of the main thread."""
        before = {one: signal.signal(one, self._hear) for one in SIGNALS}
        try:
            self._serve()
            self._end()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self._woken.set()

    def _serve(self) -> None:
        rung: int | None = None
        look_again: float | None = 0.0
        while not self._signals:
            now_rung, ended = bell(), self._reap()
            if ended or now_rung != rung or (look_again is not None and time.monotonic() >= look_again):
                rung = now_rung
                try:
                    wait = self._launch_due()
                except (StoreError, OSError) as error:
                    log.warning("The queue could not be looked at, it is tried again: %s", error)
                    wait = WAITING_SECONDS
                look_again = None if wait is None else time.monotonic() + wait
            self._woken.wait(LOOK_SECONDS if self._running else BELL_SECONDS)

    def _launch_due(self) -> float | None:
        names = visible_gpus()
        places = self.jobs_at_once or max(1, len(names))
        while not self._signals:
            next_one = self.store.queue.launch_next(places, len(names))
            if next_one is None:
                break
            launched = Launchable.of(next_one)
            process = subprocess.Popen(
                [sys.executable, "-c", launched.code],
                env=launched.environment(names),
                stdin=subprocess.DEVNULL,
                # a signal to the worker is not for its jobs, and a worker that is killed does not take them with it
                start_new_session=True,
            )
            log.info("%s runs in the process %s", launched.label, process.pid)
            self._running[process] = launched
        return seconds_to_wait(self.store)

    def _reap(self) -> bool:
        """Whether a process has ended; of one that could not begin its job this is noted."""
        ended = [process for process in self._running if process.poll() is not None]
        for process in ended:
            launched = self._running.pop(process)
            code = process.returncode
            how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
            log.info("%s: its process %s", launched.label, how)
            try:
                launched.not_begun(self.store, f"its process {how} before it began")
            except StoreError as error:
                log.warning("%s: %s", launched.label, error)
        return bool(ended)

    def _end(self) -> None:
        for process, launched in self._running.items():
            log.info("%s is stopped; `medfusion resume %s` goes on with it", launched.label, launched.label)
            process.send_signal(signal.SIGINT)
        while self._running and self._signals < 2:
            self._reap()
            self._woken.clear()
            self._woken.wait(LOOK_SECONDS)
