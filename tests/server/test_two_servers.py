"""Two servers on one PostgreSQL, each with a home of its own: what one changes the other shows, and tells its listeners."""

import asyncio
import json
import urllib.error

import pytest
from jupyter_process import TOKEN, JupyterServer
from rows import JOB
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from medfusion_jupyter.store import open_store


@pytest.fixture
def servers(postgresql_server, monkeypatch, tmp_path):
    """Two servers, of which neither has the files of the other; this process uses the database too."""
    monkeypatch.setenv("MEDFUSION_DATABASE_URL", postgresql_server())
    started = []
    for name in ("first", "second"):
        monkeypatch.setenv("MEDFUSION_HOME", str(tmp_path / name / "home"))
        started.append(JupyterServer(tmp_path / name, "--MedFusionApp.feed_seconds=0.1"))
    yield started
    for server in started:
        server.close()


async def in_thread(server, *request):
    return await asyncio.get_running_loop().run_in_executor(None, server.ask, *request)


async def listen(server, since=None):
    query = "" if since is None else f"?since={since}"
    url = f"{server.url.replace('http', 'ws')}/medfusion/api/feed{query}"
    socket = await websocket_connect(HTTPRequest(url, headers={"Authorization": f"token {TOKEN}"}))
    assert json.loads(await asyncio.wait_for(socket.read_message(), 30))["type"] == "hello"
    return socket


async def next_event(socket):
    while True:
        message = json.loads(await asyncio.wait_for(socket.read_message(), 30))
        if message["type"] == "event":
            return message


async def test_each_shows_what_the_other_stored_and_tells_its_listeners_in_order(servers):
    first, second = servers
    sockets = [await listen(server) for server in servers]
    made = await in_thread(first, "POST", "medfusion/api/workflows", {"name": "fuse"})
    path = f"medfusion/api/workflows/{made['id']}"
    assert await in_thread(second, "GET", path) == made
    saved = await in_thread(second, "PUT", path, {"version": 1, "description": "by the second"})
    assert await in_thread(first, "GET", path) == saved
    with pytest.raises(urllib.error.HTTPError) as caught:
        await in_thread(first, "PUT", path, {"version": 1, "description": "lost?"})
    assert caught.value.code == 409
    await in_thread(first, "DELETE", path)
    for socket in sockets:
        seen = [await next_event(socket) for _ in range(3)]
        assert [event["kind"] for event in seen] == ["created", "updated", "deleted"]
        assert [event["id"] for event in seen] == sorted(event["id"] for event in seen)
    for socket in sockets:
        socket.close()


async def test_who_listened_to_one_gets_what_was_missed_from_the_other(servers):
    first, second = servers
    socket = await listen(first)
    store = open_store()
    store.jobs.create("seen", **JOB)
    last = (await next_event(socket))["id"]
    socket.close()
    for name in ("missed", "missed too"):
        store.jobs.create(name, **JOB)
    socket = await listen(second, since=last)
    assert [(await next_event(socket))["data"]["name"] for _ in range(2)] == ["missed", "missed too"]
    socket.close()
    store.close()


async def test_many_changes_through_both_are_told_to_each_listener_once_and_in_one_order(servers):
    sockets = [await listen(server) for server in servers]
    await asyncio.gather(
        *(in_thread(servers[n % 2], "POST", "medfusion/api/workflows", {"name": f"workflow {n}"}) for n in range(30))
    )
    told = [[(await next_event(socket))["id"] for _ in range(30)] for socket in sockets]
    assert told[0] == told[1] == sorted(set(told[0]))
    for socket in sockets:
        socket.close()


async def test_what_is_queued_at_one_is_not_launched_by_the_other(servers, tmp_path, monkeypatch):
    # a queue is of a home: the files of its jobs lie there
    monkeypatch.setenv("MEDFUSION_HOME", str(tmp_path / "third" / "home"))
    store = open_store()
    job = store.jobs.create("of another home", **JOB)
    store.queue.add(job.job_id)
    for server in servers:
        found = await in_thread(server, "GET", f"medfusion/api/training/status/{job.job_id}")
        assert (found["status"], found["launched_at"]) == ("pending", None)
        told = await in_thread(server, "GET", "medfusion/api/system/resources")
        assert (told["jobs_running"], told["jobs_waiting"]) == (0, 0)
    store.close()
