"""What a node knows of the execution that it is part of."""

from __future__ import annotations

import math
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
        """Show facts about the node (values of JSON) beside it, at once and with its output: no names of patients.

        A number that is none, such as NaN, is shown as nothing. Raises TypeError for what is no value of JSON.
        """
        self.noted.update({name: _plain(name, value) for name, value in facts.items()})
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


def _plain(name: str, value: Any) -> Any:
    """As every database keeps it, and a browser reads it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(name, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, one) for one in value]
    raise TypeError(
        f"note({name}=…) was given a {type(value).__name__}: give a text, a number, a list or a dict of these."
    )
