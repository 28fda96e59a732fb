"""When to look at the queue: the launcher of a Jupyter server and the worker without one both go by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medfusion_jupyter.store.location import queue_bell

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store

BELL_SECONDS = 0.5
WAITING_SECONDS = 5.0
"""How often the queue is looked at while a job waits in it: the one that has its place may belong to a process that is gone."""


def bell() -> int | None:
    """A number that is another one after something was queued."""
    try:
        return queue_bell().stat().st_mtime_ns
    except OSError:
        return None


def seconds_to_wait(store: Store) -> float | None:
    """Seconds after which to look again, the bell apart; None where nothing waits."""
    from medfusion_jupyter.store.tables import now

    # this first: it marks what has a kernel that died with its server, and so frees its place
    store.jobs.mark_interrupted()
    store.executions.mark_interrupted()
    if store.queue.executions_waiting():
        return WAITING_SECONDS
    waiting = store.queue.waiting()
    if not waiting:
        return None
    times = [job.not_before for job in waiting]
    if any(time is None or time <= now() for time in times):
        return WAITING_SECONDS
    return min(max(0.0, (time - now()).total_seconds()) for time in times if time is not None)
