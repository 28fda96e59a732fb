"""The feed: hello, then every change in order, also those that a client missed; silent when nobody listens."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest
from jupyter_process import TOKEN, JupyterServer
from jupyter_server.utils import url_path_join
from sqlalchemy import event
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from medfusion_jupyter.server import feed
from medfusion_jupyter.store import events

WRITER = """
from medfusion_jupyter.store import open_store
store = open_store()
for number in range(40):
    store.jobs.create("j", model_config={}, data_config={}, training_config={}, total_epochs=1, watched_metric="val/auroc")
store.close()
"""


def record(store, count, **data):
    """So many events; a transaction each."""
    for number in range(count):
        with store.writing() as session:
            events.record(session, "updated", "job", "job_0001", {"number": number, **data})


async def connect(server, headers, since=""):
    """A websocket of a server in a process of its own."""
    url = f"ws://127.0.0.1:{server.port}/medfusion/api/feed?since={since}"
    return await websocket_connect(HTTPRequest(url, headers=headers))


@pytest.fixture
def hub(jp_serverapp):
    return jp_serverapp.web_app.settings["medfusion_hub"]


@pytest.fixture
def listen(jp_ws_fetch):
    async def connect(**params):
        socket = await jp_ws_fetch("medfusion", "api", "feed", params=params)

        async def read(kind=None):
            while True:
                message = json.loads(await asyncio.wait_for(socket.read_message(), 20))
                if kind is None or message["type"] == kind:
                    return message

        return socket, read

    return connect


async def test_changes_come_in_order(listen, store, running_job):
    socket, read = await listen()
    hello = await read()
    assert hello == {"type": "hello", "last": 0}
    job = running_job()
    seen = [await read("event") for _ in range(3)]
    assert [event["kind"] for event in seen] == ["created", "status", "status"]
    assert {event["entity_id"] for event in seen} == {job.job_id}
    assert [event["id"] for event in seen] == [1, 2, 3]
    socket.close()


async def test_progress_of_a_live_job_is_pushed(listen, store, running_job):
    job = running_job()
    socket, read = await listen()
    await read("hello")
    store.jobs.update_progress(job.job_id, run_token="t", progress=0.5, current_epoch=2)
    while True:
        progress = (await read("progress"))["job"]
        if progress["progress"] == 0.5:
            break
    assert (progress["job_id"], progress["current_epoch"]) == (job.job_id, 2)
    socket.close()


async def test_who_was_away_gets_what_was_missed_and_another_listener_does_not(listen, store, running_job):
    for _ in range(300):
        store.jobs.create(
            "j", model_config={}, data_config={}, training_config={}, total_epochs=1, watched_metric="val/auroc"
        )
    away, read_missed = await listen(since="250")
    new, read_new = await listen()
    assert (await read_missed("hello"))["last"] == 300
    assert [(await read_missed("event"))["id"] for _ in range(50)] == list(range(251, 301))
    await read_new("hello")
    running_job()
    assert (await read_new("event"))["id"] == 301
    assert (await read_missed("event"))["id"] == 301
    away.close()
    new.close()


async def test_a_number_from_another_database_does_not_silence_the_feed(listen, running_job):
    socket, read = await listen(since="999999")
    await read("hello")
    running_job()
    assert (await read("event"))["id"] == 1
    socket.close()


async def test_each_listener_gets_each_change_of_several_writers_once_in_order_also_one_that_comes_and_goes(
    listen, store
):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER]) for _ in range(3)]
    staying, read_staying = await listen()
    first = (await read_staying("hello"))["last"]
    seen, seen_away, start, since = [], [], None, None
    while len(seen) < 120 - first:
        seen.append((await read_staying("event"))["id"])
        if len(seen) % 25 == 0:
            # the other comes back, takes some and goes
            away, read_away = await listen(**({} if since is None else {"since": str(since)}))
            hello = await read_away("hello")
            if start is None:
                start = since = hello["last"]
            while since < seen[-1]:
                since = (await read_away("event"))["id"]
                seen_away.append(since)
            away.close()
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    every = [one.id for one in store.events.list(first)]
    assert len(every) == 120 - first
    assert seen == every
    assert seen_away == [one for one in every if start < one <= since]
    staying.close()


@pytest.mark.parametrize("since", ["-1", "1.5", "abc", "9" * 30, "١", "1;drop"])
async def test_what_is_no_id_of_an_event_is_refused(listen, since):
    with pytest.raises(HTTPClientError) as caught:
        await listen(since=since)
    assert caught.value.code == 400


async def test_a_server_as_people_run_it_refuses_another_origin_and_who_has_no_token(medfusion_home, tmp_path):
    server = await asyncio.get_running_loop().run_in_executor(None, JupyterServer, tmp_path / "jupyter")
    try:
        page = await AsyncHTTPClient().fetch(f"{server.url}/api/status?token={TOKEN}")
        # a browser sends the cookie wherever a page comes from, so there the origin matters
        browser = {"Cookie": "; ".join(cookie.split(";")[0] for cookie in page.headers.get_list("Set-Cookie"))}
        for headers in ({}, {"Authorization": "token guessed"}, {**browser, "Origin": "http://elsewhere.example"}):
            with pytest.raises(HTTPClientError) as caught:
                await connect(server, headers)
            assert caught.value.code == 403
        (await connect(server, {**browser, "Origin": server.url})).close()
    finally:
        server.close()


async def test_one_look_serves_a_hundred_listeners(listen, hub, store, monkeypatch):
    asked, looks, look = [], [], feed.look

    def counted(*arguments, **what):
        looks.append(len(asked))
        return look(*arguments, **what)

    listeners = [await listen() for _ in range(100)]
    for _, read in listeners:
        await read("hello")
    event.listen(store.engine, "before_cursor_execute", lambda *of: asked.append(of[2]) if of[2] != "BEGIN" else None)
    monkeypatch.setattr(feed, "look", counted)
    while len(looks) < 6:
        await asyncio.sleep(0.05)
    # the events, the jobs at work, and sometimes the silent ones
    assert max(after - before for before, after in pairwise(looks)) <= 3
    record(store, 3)
    for _, read in listeners:
        assert [(await read("event"))["data"]["number"] for _ in range(3)] == [0, 1, 2]
    for client, _ in listeners:
        client.close()


async def test_the_database_is_left_alone_when_nobody_listens(listen, hub, store):
    assert hub._task is None
    first, read_first = await listen()
    second, read_second = await listen()
    await read_first("hello")
    await read_second("hello")
    first.close()
    record(store, 1)
    await read_second("event")
    assert not hub._task.done()
    second.close()
    await asyncio.wait_for(asyncio.shield(hub._task), 20)
    asked = []
    event.listen(store.engine, "before_cursor_execute", lambda *of: asked.append(of[2]))
    await asyncio.sleep(0.5)  # the time of five looks
    assert asked == []
    third, read_third = await listen()
    assert (await read_third())["type"] == "hello"
    third.close()


async def test_progress_is_told_at_most_four_times_a_second_and_the_last_is_told(listen, store, running_job):
    job = running_job()
    socket_, read = await listen()
    await read("progress")
    began = time.monotonic()

    def train():
        for step in range(1, 101):
            store.jobs.update_progress(job.job_id, run_token="t", current_step=step)
            time.sleep(0.01)

    training = threading.Thread(target=train)
    training.start()
    steps = []
    while not steps or steps[-1] < 100:
        steps.append((await read("progress"))["job"]["current_step"])
    took = time.monotonic() - began
    training.join()
    assert steps == sorted(set(steps))
    assert len(steps) <= took / feed.PROGRESS_SECONDS + 1
    socket_.close()


async def test_a_heartbeat_alone_is_no_progress(listen, hub, store, running_job, monkeypatch):
    job = running_job()
    socket_, read = await listen()
    assert [(await read())["type"] for _ in range(2)] == ["hello", "progress"]
    seen, note = [], hub._note
    monkeypatch.setattr(hub, "_note", lambda jobs, at: (seen.append(jobs[0].heartbeat_at), note(jobs, at)))
    while len(set(seen)) < 4:
        store.jobs.update_progress(job.job_id, run_token="t")
        await asyncio.sleep(feed.PROGRESS_SECONDS)
    record(store, 1)
    assert (await read())["type"] == "event"
    socket_.close()


async def test_one_that_does_not_read_holds_up_nobody_and_costs_one_page(
    listen, hub, store, jp_serverapp, jp_base_url, jp_http_port, jp_auth_header
):
    path = url_path_join(jp_base_url, "medfusion/api/feed")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", jp_http_port))
    headers = {
        "Host": f"127.0.0.1:{jp_http_port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **jp_auth_header,
    }
    lines = [f"GET {path}?since=0 HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    deaf.sendall("\r\n".join([*lines, "", ""]).encode())
    while not hub._clients:
        await asyncio.sleep(0.01)
    (stuck,) = hub._clients
    reader, read = await listen()
    await read("hello")
    text = "x" * 100_000
    await asyncio.get_running_loop().run_in_executor(None, lambda: record(store, 300, text=text))
    assert [(await read("event"))["data"]["number"] for _ in range(300)] == list(range(300))
    assert not stuck.is_ready
    assert stuck.position < 300
    # it reads at last, and has missed nothing
    numbers = await asyncio.get_running_loop().run_in_executor(None, lambda: numbers_of(deaf, 300))
    assert numbers == list(range(300))
    deaf.close()
    reader.close()


def numbers_of(client, count):
    """The numbers of the first events that come over a raw websocket."""
    client.settimeout(30)
    stream = client.makefile("rb")
    while stream.readline() != b"\r\n":
        pass
    numbers = []
    while len(numbers) < count:
        start = stream.read(2)
        length = start[1]
        if length >= 126:
            length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
        content = stream.read(length)
        if start[0] == 0x81 and (message := json.loads(content))["type"] == "event":
            numbers.append(message["data"]["number"])
    return numbers


async def test_a_server_that_was_killed_tells_what_happened_meanwhile(store, tmp_path):
    async def numbers(client, count):
        messages = []
        while len(messages) < count:
            message = json.loads(await asyncio.wait_for(client.read_message(), 20))
            if message["type"] == "event":
                messages.append(message)
        return [message["data"]["number"] for message in messages], messages[-1]["id"]

    loop = asyncio.get_running_loop()
    server = await loop.run_in_executor(None, JupyterServer, tmp_path / "jupyter")
    again = None
    try:
        client = await connect(server, {"Authorization": f"token {TOKEN}"}, since=0)
        record(store, 5)
        seen, last = await numbers(client, 5)
        assert seen == [0, 1, 2, 3, 4]
        server.kill()
        assert await client.read_message() is None
        record(store, 250)
        again = await loop.run_in_executor(None, JupyterServer, tmp_path / "jupyter")
        client = await connect(again, {"Authorization": f"token {TOKEN}"}, since=last)
        seen, _ = await numbers(client, 250)
        assert seen == list(range(250))
        client.close()
    finally:
        for one in (server, again):
            if one is not None:
                one.close()


async def test_a_store_that_fails_is_complained_of_once_and_does_not_end_the_feed(listen, monkeypatch, caplog):
    look, failures = feed.look, []

    def failing(*arguments, **what):
        if len(failures) < 3:
            failures.append(1)
            raise OSError("disk")
        return look(*arguments, **what)

    monkeypatch.setattr(feed, "look", failing)
    socket_, read = await listen()
    assert (await read())["type"] == "hello"
    assert len(failures) == 3
    assert sum("could not read the store" in line for line in caplog.messages) == 1
    socket_.close()
