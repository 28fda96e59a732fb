"""What a node knows of the execution that it is part of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

NEWS_SECONDS = 1.0
"""Progress is told at most so often."""


class Stopped(Exception):
    """Raised by a node that gave way to a stop."""


class Context:
    """What a node knows of its execution.

    execution_id: its primary key; node_id: the node's in the graph; owner: the person it is executed for. earlier: what an
    earlier run of the same node with the same settings and inputs, that came to no end, told by `begun`.
    """

    def __init__(
        self,
        execution_id: int,
        node_id: str,
        owner: str | None,
        stop: threading.Event,
        keep: Callable[[dict[str, Any]], None],
        *,
        earlier: Mapping[str, Any] | None = None,
        remember: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.execution_id = execution_id
        self.node_id = node_id
        self.owner = owner
        self.earlier: Mapping[str, Any] = earlier or {}
        self.noted: dict[str, Any] = {}
        self._stop = stop
        self._keep = keep
        self._remember = remember
        self._told = -NEWS_SECONDS

    @property
    def stopping(self) -> bool:
        """Whether the execution was asked to stop: a node that takes long looks at it, and raises Stopped."""
        return self._stop.is_set()

    def raise_if_stopping(self) -> None:
        """Raise Stopped where the execution was asked to stop."""
        if self.stopping:
            raise Stopped

    def note(self, **facts: Any) -> None:
        """Show facts about the node (values of JSON) beside it, at once and with its output: no names of patients."""
        self.noted.update(facts)
        self._keep(dict(self.noted))

    def progress(self, share: float, **facts: Any) -> None:
        """Show how far the node is, 0 to 1, and facts that change with it. What comes faster than once a second is left out."""
        if time.monotonic() - self._told < NEWS_SECONDS:
            return
        news = {"progress": round(share, 3), **facts}
        if any(self.noted.get(name) != value for name, value in news.items()):
            self._told = time.monotonic()
            self.note(**news)

    def begun(self, **facts: Any) -> None:
        """Keep facts (values of JSON) for a later run that goes on with this node where it was interrupted: see `earlier`."""
        if self._remember is not None:
            self._remember(facts)
