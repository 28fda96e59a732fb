"""From a commit to its arrival at each of 100 websocket clients of the feed, with its default settings.

Half of `feed_seconds` is the mean that looking every so often can give. MLflow's server and trackio push nothing: no peer.
"""

import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from filling import store_in
from rounds import environment
from serving import Server, jupyter_server
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from medfusion_jupyter.store import Store

CLIENTS = 100
COMMITS = 30


async def measure(server: Server, store: Store) -> list[list[float]]:
    """Seconds to the arrival at each client, a list a commit."""
    url = f"ws://127.0.0.1:{server.port}/medfusion/api/feed"
    request = HTTPRequest(url, headers={"Authorization": f"token {server.token}"})
    sockets = [await websocket_connect(request) for _ in range(CLIENTS)]
    arrivals: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    async def listen(socket: WebSocketClientConnection) -> None:
        while (text := await socket.read_message()) is not None:
            at = time.perf_counter()
            message = json.loads(text)
            if message["type"] == "event":
                arrivals.put_nowait((message["entity_id"], at))

    def commit() -> tuple[str, float]:
        job = store.jobs.create(
            "job", model_config={}, data_config={}, training_config={}, total_epochs=1, watched_metric="val/loss"
        )
        return job.job_id, time.perf_counter()

    listeners = [asyncio.create_task(listen(socket)) for socket in sockets]
    await asyncio.sleep(2)
    figures = []
    for _ in range(COMMITS):
        job_id, committed = await asyncio.get_running_loop().run_in_executor(None, commit)
        got = [await asyncio.wait_for(arrivals.get(), 30) for _ in range(CLIENTS)]
        assert {entity for entity, _ in got} == {job_id}
        figures.append([at - committed for _, at in got])
        # so that the job is no longer among those that are watched
        await asyncio.get_running_loop().run_in_executor(None, lambda job=job_id: store.jobs.request(job, "stop"))
        for _ in range(CLIENTS):
            await asyncio.wait_for(arrivals.get(), 30)
        await asyncio.sleep(random.random())  # at any moment between two looks
    for listener in listeners:
        listener.cancel()
    return figures


if __name__ == "__main__":
    print(environment("jupyter-server", "tornado", "sqlalchemy"))
    with tempfile.TemporaryDirectory() as scratch:
        store = store_in(Path(scratch))
        with jupyter_server(Path(scratch)) as server:
            figures = asyncio.run(measure(server, store))
        store.close()
    rows = {
        "each arrival": [at for commit in figures for at in commit],
        "the first client of a commit": [min(commit) for commit in figures],
        "the last client of a commit": [max(commit) for commit in figures],
        "from the first client to the last": [max(commit) - min(commit) for commit in figures],
    }
    print(f"\n### {CLIENTS} clients, {COMMITS} commits\n\n| | median (ms) | lowest | highest |\n|---|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | {statistics.median(values) * 1e3:.0f} | {min(values) * 1e3:.0f} | {max(values) * 1e3:.0f} |")
