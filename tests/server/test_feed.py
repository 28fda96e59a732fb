"""The feed: hello, then every change in order, also those that a client missed; silent when nobody listens."""

import asyncio
import json

import pytest


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


async def test_the_database_is_left_alone_when_nobody_listens(listen, jp_serverapp):
    hub = jp_serverapp.web_app.settings["medfusion_hub"]
    assert hub._task is None
    socket, read = await listen()
    await read("hello")
    assert not hub._task.done()
    socket.close()
    await asyncio.wait_for(asyncio.shield(hub._task), 20)
    assert hub._sent == {}


async def test_a_store_that_fails_once_does_not_end_the_feed(listen, store, running_job, monkeypatch):
    from medfusion_jupyter.server import feed

    look, failures = feed._look, []

    def once(store, after):
        if not failures:
            failures.append(1)
            raise OSError("disk")
        return look(store, after)

    monkeypatch.setattr(feed, "_look", once)
    socket, read = await listen()
    assert (await read())["type"] == "hello"
    assert failures == [1]
    socket.close()
