"""Runs queued jobs and executions in kernels of their own, through Jupyter's kernel manager: they show among the running kernels.

The database is asked when something was queued (the bell), when one has ended, and when one's time has come; not otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

from medfusion_jupyter.server.launchable import Launchable
from medfusion_jupyter.server.queue_watch import BELL_SECONDS, WAITING_SECONDS, bell, seconds_to_wait
from medfusion_jupyter.server.resources import visible_gpus
from medfusion_jupyter.store.errors import StoreError

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store

log = logging.getLogger("medfusion")
Answer = TypeVar("Answer")

READY_SECONDS = 120.0
ALIVE_SECONDS = 1.0


class Launcher:
    """Starts a kernel for each job or execution whose turn has come, waits for its end and shuts the kernel down."""

    def __init__(
        self, server: Any, open_store: Callable[[], Store], executor: Executor, *, jobs_at_once: int, kernel_name: str
    ) -> None:
        self._kernels = server.kernel_manager
        self._sessions = server.session_manager
        self._open_store = open_store
        self._executor = executor
        self._jobs_at_once = jobs_at_once
        self._kernel_name = kernel_name
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._runs: set[asyncio.Task[None]] = set()
        self._waits: set[asyncio.Task[str | None]] = set()
        self._closing = False

    def start(self) -> None:
        """Begin to look at the queue; where nothing was ever queued the database is not opened."""
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def wake(self) -> None:
        """Look at the queue now."""
        self._woken.set()

    async def close(self) -> None:
        """Launch nothing more. The kernels are the server's: it shuts them down or leaves them."""
        self._closing = True
        self._woken.set()
        if self._task is not None:
            await self._task
        for wait in self._waits:
            wait.cancel()
        # a kernel left half started or half shut down would make Jupyter's own shutdown fail
        await asyncio.gather(*self._runs, return_exceptions=True)

    def places(self) -> int:
        """How many jobs may be at work at once: as configured, or one a GPU, or one."""
        return self._jobs_at_once or max(1, len(visible_gpus()))

    async def _serve(self) -> None:
        rung: int | None = None
        loop = asyncio.get_running_loop()
        look_again: float | None = None
        while not self._closing:
            now_rung = bell()
            due = look_again is not None and loop.time() >= look_again
            if now_rung != rung or due or self._woken.is_set():
                rung = now_rung
                self._woken.clear()
                try:
                    wait = await self._launch_due()
                except (StoreError, OSError) as error:
                    log.warning("The queue could not be looked at, it is tried again: %s", error)
                    wait = WAITING_SECONDS
                except Exception:
                    log.warning("The queue could not be looked at, it is tried again", exc_info=True)
                    wait = WAITING_SECONDS
                look_again = None if wait is None else loop.time() + wait
            try:
                await asyncio.wait_for(self._woken.wait(), BELL_SECONDS)
            except TimeoutError:
                continue

    async def _launch_due(self) -> float | None:
        """Launch what may be launched; gives the seconds after which to look again, None where nothing waits."""
        names = visible_gpus()
        while not self._closing:
            next_one = await self._ask(lambda store: store.queue.launch_next(self.places(), len(names)))
            if next_one is None:
                break
            run = asyncio.get_running_loop().create_task(self._run(Launchable.of(next_one), names))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)
        return await self._ask(seconds_to_wait)

    async def _run(self, launched: Launchable, gpu_names: list[str]) -> None:
        kernel_id, session_id = None, None
        try:
            # independent: a server that is killed does not take the kernel with it
            kernel_id = await self._kernels.start_kernel(
                kernel_name=self._kernel_name or None, env=launched.environment(gpu_names), independent=True
            )
            log.info("%s runs in the kernel %s", launched.label, kernel_id)
            session = await self._sessions.create_session(
                path=launched.path, name=launched.title, type="medfusion", kernel_id=kernel_id
            )
            session_id = session["id"]
            error = "the server was shut down" if self._closing else await self._wait(kernel_id, launched.code)
        except asyncio.CancelledError:  # the server shuts down, and its kernels with it
            return
        except Exception as problem:  # a kernel that does not start has many ways to say so
            error = f"its kernel could not be started: {problem}"
        if error is not None:
            log.warning("%s: %s", launched.label, error)
            message = error
            await self._ask(lambda store: launched.not_begun(store, message))
        try:
            if session_id is not None:
                await self._sessions.delete_session(session_id)
            elif kernel_id is not None and kernel_id in self._kernels:
                await self._kernels.shutdown_kernel(kernel_id)
        except Exception:  # somebody has shut it down already
            log.debug("the kernel of %s was gone", launched.label, exc_info=True)
        self.wake()

    async def _wait(self, kernel_id: str, code: str) -> str | None:
        """As `_execute`, in a task that `close` may cancel."""
        wait = asyncio.get_running_loop().create_task(self._execute(kernel_id, code))
        self._waits.add(wait)
        wait.add_done_callback(self._waits.discard)
        return await wait

    async def _execute(self, kernel_id: str, code: str) -> str | None:
        """Run the code in the kernel and wait for the end; gives what went wrong with the kernel, if anything did."""
        manager = self._kernels.get_kernel(kernel_id)
        # Jupyter would start a dead kernel anew: an empty one, which does nothing and which nobody shuts down
        manager.stop_restarter()
        process = _process(manager)
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=READY_SECONDS)
            asked = client.execute(code, store_history=False, allow_stdin=False)
            reply = asyncio.ensure_future(_reply(client, asked))
            try:
                while not reply.done():
                    await asyncio.wait({reply}, timeout=ALIVE_SECONDS)
                    if not reply.done() and not (
                        kernel_id in self._kernels and await manager.is_alive() and _process(manager) == process
                    ):
                        return "its kernel died or was restarted"
                content = reply.result()["content"]
                return None if content["status"] == "ok" else f"{content.get('ename')}: {content.get('evalue')}"
            finally:
                reply.cancel()
        finally:
            client.stop_channels()

    async def _ask(self, work: Callable[[Store], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: work(self._open_store()))


async def _reply(client: Any, asked: str) -> Any:
    while True:
        message = await client.get_shell_msg(timeout=None)
        if message["parent_header"].get("msg_id") == asked:
            return message


def _process(manager: Any) -> int | None:
    # None of a kernel on another machine, which a provisioner started
    return getattr(manager.provisioner, "pid", None)
