"""What a node knows of the execution that it is part of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Stopped(Exception):
    """Raised by a node that gave way to a stop."""


class Context:
    """What a node knows of its execution.

    execution_id: its primary key; node_id: the node's in the graph; owner: the person it is executed for.
    """

    def __init__(
        self,
        execution_id: int,
        node_id: str,
        owner: str | None,
        stop: threading.Event,
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        self.execution_id = execution_id
        self.node_id = node_id
        self.owner = owner
        self.noted: dict[str, Any] = {}
        self._stop = stop
        self._keep = keep

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
