"""The write-behind queue: training appends and goes on, one thread commits.

A batch holds the samples that came in, the heartbeat and progress of each attached run, and hands the run its commands.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from medfusion_jupyter.store.errors import BadValue, DatabaseTrouble, StoreError
from medfusion_jupyter.store.job_runs import commands_wait
from medfusion_jupyter.store.metrics import Sample, write_samples
from medfusion_jupyter.store.texts import valid_metric

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store

log = logging.getLogger("medfusion")

BATCH_SECONDS = 0.25
BEAT_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
MAX_STEP = 2**63 - 1

Beat = Callable[[Session], None]


@dataclass(frozen=True, eq=False)
class Attached:
    """What the writer's thread calls. job_pk: the job whose commands it takes; waiting: whether once a second is enough."""

    beat: Beat
    job_pk: int | None
    waiting: Callable[[], bool]


class WriteBehind:
    """Collects samples from any thread; its own thread writes them while there is something to write for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: deque[Sample] = deque()
        self._batch: list[Sample] = []
        self._attached: list[Attached] = []
        self._committing = threading.Lock()
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    def append(self, job_pk: int, name: str, step: int, value: float) -> None:
        """Note a sample; it is committed within a second. Raises BadValue for one that no database takes."""
        # refused here: in the queue it would hold up all others
        valid_metric("name", name)
        if not -MAX_STEP <= step <= MAX_STEP:
            raise BadValue(f"step={step} of {name!r} is out of range.")
        self._pending.append((job_pk, name, int(step), float(value)))
        if self._thread is None:
            self._start()

    def attach(
        self, beat: Beat, *, job_pk: int | None = None, waiting: Callable[[], bool] = lambda: False
    ) -> Callable[[], None]:
        """Call `beat(session)` in the writer's thread within its transaction, each second at least; returns its detach.

        job_pk: of a job: a command to it, from whatever process, calls its beat within BATCH_SECONDS. waiting: where it says
        True, samples of others do not call it.
        """
        attached = Attached(beat, job_pk, waiting)
        self._attached.append(attached)
        self._start()

        def detach() -> None:
            self._attached.remove(attached)

        return detach

    def wake(self) -> None:
        """Have the beats called now: a command has been given."""
        self._wake.set()

    def flush(self) -> None:
        """Return when every sample appended so far is committed; waits up to a minute for a locked database."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._commit()
                return
            except DatabaseTrouble:
                if time.monotonic() > until:
                    raise
                time.sleep(BATCH_SECONDS)

    def close(self) -> None:
        """Commit what is there and end the thread. `flush` still works after it."""
        self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
        try:
            self._commit()
        except (SQLAlchemyError, StoreError) as error:
            log.warning("%d samples could not be written at the end: %s", len(self._batch), error)
        atexit.unregister(self.close)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._serve, name="medfusion-writer", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        last_beat = 0.0
        complained = False
        while not self._closed:
            asked = self._wake.wait(BATCH_SECONDS)
            self._wake.clear()
            if not self._attached and not self._waiting() and self._may_end():
                return
            try:
                due = asked or time.monotonic() - last_beat >= BEAT_SECONDS or self._command_waits()
                if not due and not self._waiting():
                    continue
                self._commit([one.beat for one in list(self._attached) if due or not one.waiting()])
                last_beat = time.monotonic() if due else last_beat
                complained = False
            except Exception as error:  # whatever a beat or the database says, the thread must not end with it
                # nothing is lost: the samples stay in the queue and the next batch tries again
                if not complained:
                    unexpected = not isinstance(error, StoreError)
                    log.warning(
                        "The store did not take a batch of metrics, it is tried again: %s", error, exc_info=unexpected
                    )
                complained = True

    def _command_waits(self) -> bool:
        """Whether a job of this process was given a command: a look that takes no lock, and far less time than a beat."""
        jobs = [one.job_pk for one in list(self._attached) if one.job_pk is not None]
        if not jobs:
            return False
        with self._store.reading() as session:
            return commands_wait(session, jobs)

    def _waiting(self) -> bool:
        return bool(self._pending or self._batch)

    def _may_end(self) -> bool:
        with self._starting:
            # in this order: who appends looks for the thread after it has appended
            self._thread = None
            if not self._attached and not self._waiting():
                return True
            self._thread = threading.current_thread()
            return False

    def _commit(self, beats: Sequence[Beat] = ()) -> None:
        with self._committing:
            # a batch that could not be committed is still there, and goes first
            self._batch.extend(self._pending.popleft() for _ in range(len(self._pending)))
            if not self._batch and not beats:
                return
            with self._store.writing() as session:
                write_samples(session, self._batch)
                for beat in beats:
                    beat(session)
            self._batch.clear()
