"""The feed: pushes every change of the store over a websocket, in order. The database is looked at only while someone listens."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from medfusion_jupyter.store.errors import StoreError

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store

log = logging.getLogger("medfusion")

EVENTS_AT_ONCE = 500


class Feed(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """GET: a websocket. First `hello` with the newest event's id, then the events after `since`, then what happens."""

    auth_resource = "medfusion:events"

    @ws_authenticated
    @authorized(action="read")  # type: ignore[untyped-decorator]
    async def get(  # type: ignore[override]
        self, *args: Any, **kwargs: Any
    ) -> None:
        since = self.get_query_argument("since", None)
        self.since = int(since) if since and since.isascii() and since.isdigit() and len(since) < 19 else None
        await super().get(*args, **kwargs)

    def open(self, *args: Any, **kwargs: Any) -> None:
        super().open(*args, **kwargs)
        self.hub.join(self)

    def on_message(self, message: str | bytes) -> None:
        """Clients say nothing."""

    def on_close(self) -> None:
        self.hub.leave(self)
        super().on_close()

    @property
    def hub(self) -> FeedHub:
        hub: FeedHub = self.settings["medfusion_hub"]
        return hub

    def push(self, message: dict[str, Any]) -> None:
        """Send a message; a client that has just gone is no error."""
        try:
            self.write_message(json.dumps(message))
        except WebSocketClosedError:
            self.hub.leave(self)


class FeedHub:
    """Looks at the database for all listeners together."""

    def __init__(self, executor: Executor, seconds: float, open_store: Callable[[], Store]) -> None:
        self._executor = executor
        self._seconds = seconds
        self._open_store = open_store
        self._sent: dict[Feed, int | None] = {}
        self._heard: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    def join(self, client: Feed) -> None:
        """Begin to tell `client` what happens."""
        self._sent[client] = None
        if self._task is None or self._task.done():
            self._heard = {}
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def leave(self, client: Feed) -> None:
        """Stop telling it."""
        self._sent.pop(client, None)

    async def close(self) -> None:
        """End the watch and the connections."""
        if self._task is not None:
            self._task.cancel()
        for client in list(self._sent):
            client.close(1001, "the server is shutting down")

    async def _watch(self) -> None:
        while self._sent:
            try:
                more = await self._tell()
            except Exception as error:  # whatever the database says, the feed must not end with it
                log.warning("The feed could not read the store, it tries again: %s", error, exc_info=_unexpected(error))
                more = False
            if not more:
                await asyncio.sleep(self._seconds)

    async def _tell(self) -> bool:
        """Send what is new; True where there is more at once."""
        known = [sent for sent in self._sent.values() if sent is not None]
        wanted = [client.since for client, sent in self._sent.items() if sent is None and client.since is not None]
        after = min([*known, *wanted], default=None)
        loop = asyncio.get_running_loop()
        last, events, jobs = await loop.run_in_executor(self._executor, lambda: _look(self._open_store(), after))
        for client in [client for client, sent in self._sent.items() if sent is None]:
            client.push({"type": "hello", "last": last})
            since = client.since if client.since is not None else last
            if client in self._sent:
                # a number from another database must not silence the feed
                self._sent[client] = min(since, last)
            for job in jobs:
                client.push({"type": "progress", "job": job})
        for event in events:
            message = {"type": "event", **event}
            for client, sent in list(self._sent.items()):
                if sent is not None and sent < event["id"]:
                    self._sent[client] = event["id"]
                    client.push(message)
        heard = {job["job_id"]: job["heartbeat_at"] for job in jobs}
        for job in jobs:
            if self._heard.get(job["job_id"]) != job["heartbeat_at"]:
                for client in list(self._sent):
                    client.push({"type": "progress", "job": job})
        self._heard = heard
        return len(events) == EVENTS_AT_ONCE


def _look(store: Store, after: int | None) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]]]:
    # these first: they may mark jobs and executions as interrupted, which the events below then tell
    jobs = [job.to_json() for job in store.jobs.active()]
    store.executions.mark_interrupted()
    last = store.events.last_id()
    events = [] if after is None else [event.to_json() for event in store.events.list(after, limit=EVENTS_AT_ONCE)]
    return last, events, jobs


def _unexpected(error: Exception) -> bool:
    return not isinstance(error, StoreError)
