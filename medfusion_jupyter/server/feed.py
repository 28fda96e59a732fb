"""The feed: pushes every change of the store over a websocket, in order. The database is looked at only while someone listens.

The database is the buffer: each client has a position in the events and is sent the next page when it has taken the one before.
So one that does not read costs a page of memory and holds up nobody; Jupyter's pings end its connection when it is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from medfusion_jupyter.store.errors import StoreError

if TYPE_CHECKING:
    from medfusion_jupyter.store import JobSummary, Store

log = logging.getLogger("medfusion")

EVENTS_AT_ONCE = 100
PROGRESS_SECONDS = 0.25
"""A job's progress is told no more often."""
SILENCE_SECONDS = 2.0
"""How often runs that are gone are looked for; their end is an event."""


class Feed(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """GET: a websocket. First `hello` with the newest event's id, then the events after `since`, then what happens."""

    auth_resource = "medfusion:events"

    since: int | None
    position: int | None = None
    """Id of the last event that was sent; None before `hello`."""
    behind = False
    """Whether there is more to send at once."""

    @ws_authenticated
    @authorized(action="read")  # type: ignore[untyped-decorator]
    async def get(  # type: ignore[override]
        self, *args: Any, **kwargs: Any
    ) -> None:
        since = self.get_query_argument("since", "")
        if since and not (since.isascii() and since.isdigit() and len(since) < 19):
            raise HTTPError(400, "since=%s: give the id of an event, or leave it out.", since[:40])
        self.since = int(since) if since else None
        self._told: dict[str, int] = {}
        self._sending: asyncio.Task[None] | None = None
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

    @property
    def is_ready(self) -> bool:
        """It has taken all that was sent."""
        return self._sending is None

    def untold(self, progress: dict[str, Progress]) -> list[str]:
        """The messages of `progress` that it has not been sent; it is, from now on."""
        texts = [one.text for job_id, one in progress.items() if self._told.get(job_id) != one.number]
        self._told = {job_id: one.number for job_id, one in progress.items()}
        return texts

    def push(self, texts: list[str]) -> None:
        """Send messages; it is ready again when it has taken them."""
        self._sending = asyncio.get_running_loop().create_task(self._send(texts))

    async def _send(self, texts: list[str]) -> None:
        try:
            for text in texts:
                await self.write_message(text)  # done when the socket took it
        except WebSocketClosedError:
            return  # one that has just gone is no error, `on_close` follows
        finally:
            self._sending = None
        if self.behind:
            self.hub.wake()


@dataclass(frozen=True)
class Progress:
    """What was last told of a job. at: seconds of the loop's clock; number: of the message; state: all but the heartbeat."""

    at: float
    number: int
    state: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Look:
    """What is in the database. pages: by position, the events after it, each with its id; jobs: None where not looked at."""

    last: int
    pages: dict[int, list[tuple[int, str]]]
    jobs: list[JobSummary] | None


class FeedHub:
    """Looks at the database for all listeners together."""

    def __init__(self, executor: Executor, seconds: float, open_store: Callable[[], Store]) -> None:
        self._executor = executor
        self._seconds = seconds
        self._open_store = open_store
        self._clients: set[Feed] = set()
        self._progress: dict[str, Progress] = {}
        self._number = 0
        self._jobs_due = 0.0
        self._silence_due = 0.0
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def join(self, client: Feed) -> None:
        """Begin to tell `client` what happens."""
        self._clients.add(client)
        self.wake()
        if self._task is None or self._task.done():
            self._progress = {}
            self._jobs_due = 0.0
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def leave(self, client: Feed) -> None:
        """Stop telling it."""
        self._clients.discard(client)
        self.wake()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    async def close(self) -> None:
        """End the watch and the connections."""
        if self._task is not None:
            self._task.cancel()
        for client in list(self._clients):
            client.close(1001, "the server is shutting down")

    async def _watch(self) -> None:
        complained = False
        while self._clients:
            self._woken.clear()
            try:
                await self._tell()
                complained = False
            except Exception as error:  # whatever the database says, the feed must not end with it
                if not complained:
                    unexpected = not isinstance(error, StoreError)
                    log.warning("The feed could not read the store, it tries again: %s", error, exc_info=unexpected)
                complained = True
            try:
                await asyncio.wait_for(self._woken.wait(), self._seconds)
            except TimeoutError:
                continue

    async def _tell(self) -> None:
        """Send each client that is ready what is new to it."""
        loop = asyncio.get_running_loop()
        time = loop.time()
        ready = [client for client in self._clients if client.is_ready]
        wanted = {client.since if client.position is None else client.position for client in ready}
        positions = [position for position in wanted if position is not None]
        is_new = any(client.position is None for client in ready)
        jobs_due, silence_due = time >= self._jobs_due, time >= self._silence_due

        def work() -> Look:
            return look(self._open_store(), positions, last=is_new, jobs=jobs_due, silence=silence_due)

        found = await loop.run_in_executor(self._executor, work)
        if jobs_due:
            self._jobs_due = time + self._seconds
        if silence_due:
            self._silence_due = time + SILENCE_SECONDS
        if found.jobs is not None:
            self._note(found.jobs, time)
        for client in ready:
            # it may have gone meanwhile
            if client in self._clients:
                self._tell_one(client, found)

    def _tell_one(self, client: Feed, found: Look) -> None:
        texts = []
        if client.position is None:
            texts.append(json.dumps({"type": "hello", "last": found.last}))
            # a number from another database must not silence the feed
            client.position = found.last if client.since is None else min(client.since, found.last)
        # the jobs were read before the events, so they are told before: what is told last is true
        texts += client.untold(self._progress)
        page = found.pages.get(client.position, [])
        if page:
            client.position = page[-1][0]
            texts += (text for _, text in page)
        client.behind = len(page) == EVENTS_AT_ONCE
        if texts:
            client.push(texts)

    def _note(self, jobs: list[JobSummary], time: float) -> None:
        """Renew `_progress`: where the job has gone on, and not too soon after the last time."""
        told, self._progress = self._progress, {}
        for job in jobs:
            before = told.get(job.job_id)
            if before is not None and time - before.at < PROGRESS_SECONDS:
                self._progress[job.job_id] = before
                continue
            message = job.to_json()
            state = {name: value for name, value in message.items() if name != "heartbeat_at"}
            if before is not None and before.state == state:
                self._progress[job.job_id] = before
                continue
            self._number += 1
            text = json.dumps({"type": "progress", "job": message})
            self._progress[job.job_id] = Progress(time, self._number, state, text)


def look(store: Store, positions: Iterable[int], *, last: bool, jobs: bool, silence: bool) -> Look:
    """Read the events after each of `positions`, and where asked for the last id and the jobs at work.

    silence: mark the runs that are gone before.
    """
    if silence:
        store.jobs.mark_interrupted()
        store.executions.mark_interrupted()
    at_work = store.jobs.at_work() if jobs else None
    last_id = store.events.last_id() if last else 0
    pages = {}
    for position in positions:
        events = store.events.list(position, limit=EVENTS_AT_ONCE)
        pages[position] = [(event.id, json.dumps({"type": "event", **event.to_json()})) for event in events]
    return Look(last_id, pages, at_work)
