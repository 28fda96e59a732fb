"""Runs of jobs and executions whose process is gone without a word, and how they are marked."""

from __future__ import annotations

import datetime as dt
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import psutil
from sqlalchemy import ColumnElement, select, union_all
from sqlalchemy.orm import Session

from medfusion_jupyter.store.errors import DatabaseTrouble
from medfusion_jupyter.store.tables import TAKEN, JobRow, WorkflowExecutionRow, now

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store

log = logging.getLogger("medfusion")
Name = TypeVar("Name", str, int)

SILENT_SECONDS = 20.0
"""A live run is heard of each second; one that is silent for so long is gone."""
GONE_SECONDS = 3.0
"""The same where its process cannot be seen on this host. Not at once: it may live in another container of that name."""
LAUNCH_SECONDS = 180.0
"""A kernel that a server started has claimed its job or execution by then, on a slow disk too."""
MARK_SECONDS = 0.5
"""So long who only looks waits for the database to mark what is gone; then it is left to whoever looks next."""


class Watch(Generic[Name]):
    """Finds the active rows of a table that nobody works on any longer.

    active: the statuses of rows that somebody works on; interrupt: marks a row, given the last news of it, and gives its id;
    conditions: of the rows that a process works on at all.
    """

    def __init__(
        self,
        table: type[JobRow] | type[WorkflowExecutionRow],
        active: Iterable[str],
        interrupt: Callable[[Session, Any, str], Name],
        *conditions: ColumnElement[bool],
    ) -> None:
        self._row: type[Any] = table
        self._active = frozenset(active)
        self._interrupt: Callable[[Session, Any, str], Name] = interrupt
        # the table, not its class: the ORM would have each row pass through its own hands
        row = table.__table__.c
        whose = (row.id, row.queue, row.run_token, row.host, row.pid, row.process_started)
        known = select(*whose, row.created_at, row.launched_at, row.heartbeat_at).where(*conditions)
        # many may wait in a queue for their turn; nobody works at them who could be gone. In these words an index holds the rest
        self._query = union_all(known.where(row.status.in_(sorted(self._active - {"pending"}))), known.where(TAKEN))

    def silent(self, session: Session, seconds: float = SILENT_SECONDS) -> list[Any]:
        """What looks as if it were gone, for `mark`; seconds: the silence after which it is taken for gone."""
        at = now()
        return [row for row in session.execute(self._query) if _is_gone(row, at, seconds)]

    def mark(self, store: Store, silent: Sequence[Any]) -> list[Name]:
        """Mark what is still silent; gives the ids. A database that cannot be written now is left for whoever looks next."""
        if not silent:
            return []
        marked = []
        try:
            with store.writing(patience=MARK_SECONDS) as session:
                for seen in silent:
                    row = session.get(self._row, seen.id, with_for_update=True)
                    # it may have spoken since, or been given to a new run
                    if (
                        row is not None
                        and row.status in self._active
                        and (row.heartbeat_at, row.launched_at) == (seen.heartbeat_at, seen.launched_at)
                    ):
                        marked.append(self._interrupt(session, row, _last_news(row)))
        except DatabaseTrouble as trouble:
            log.debug("runs whose process is gone could not be marked: %s", trouble)
            return []
        return marked


def _is_gone(row: Any, at: dt.datetime, silent_seconds: float) -> bool:
    if row.queue is not None and row.run_token is None:
        # it waits for the kernel that was started for it
        return bool((at - row.launched_at).total_seconds() > LAUNCH_SECONDS)
    silence = (at - (row.heartbeat_at or row.created_at)).total_seconds()
    if silence > silent_seconds:
        return True
    if silence <= GONE_SECONDS or row.pid is None or row.host != socket.gethostname():
        return False
    try:
        started = psutil.Process(row.pid).create_time()
    except psutil.Error:
        return True
    # another process may have been given the number
    return row.process_started is not None and abs(started - row.process_started) > 1


def _last_news(row: JobRow | WorkflowExecutionRow) -> str:
    if row.run_token is None:
        return "its kernel never began it" if row.queue is not None else "no run ever began it"
    return f"its process {row.pid} on {row.host} is gone"
