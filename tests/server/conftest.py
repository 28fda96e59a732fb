"""A jupyter-server with the extension, for the tests of this folder alone: elsewhere its event loop would be in the way."""

import json
import os
import signal
from urllib.parse import urlencode

import psutil
import pytest
from jupyter_process import JupyterServer
from pytest_jupyter.jupyter_server import *  # noqa: F403

from medfusion_jupyter.store import open_store


@pytest.fixture
def jp_server_config():
    return {
        "ServerApp": {
            "jpserver_extensions": {"medfusion_jupyter": True},
            "allow_unauthenticated_access": False,
        },
        "MedFusionApp": {"feed_seconds": 0.1},
    }


@pytest.fixture
def store(either_database):
    """The store of this test, on each database in turn."""
    store = open_store()
    yield store
    store.close()


@pytest.fixture
def start_server(either_database, tmp_path):
    """Starts servers of this home in processes of their own; all end with the test, and so do the kernels they started."""
    started = []

    def start(*options):
        started.append(JupyterServer(tmp_path / "jupyter", *options))
        return started[-1]

    yield start
    for one in started:
        one.close()
    store = open_store()
    for one in [*store.jobs.active(), *(one for one in store.executions.list().items if one.is_active)]:
        if one.pid is not None and psutil.pid_exists(one.pid):
            os.kill(one.pid, signal.SIGKILL)


@pytest.fixture
def running_job(store, here):
    """A job that a live run of this process owns."""

    def make(name="job"):
        job = store.jobs.create(
            name, model_config={}, data_config={}, training_config={}, total_epochs=3, watched_metric="val/auroc"
        )
        store.jobs.claim(job.job_id, run_token="t", **here)
        for status in ("initializing", "running"):
            job = store.jobs.update_status(job.job_id, status, run_token="t")
        return job

    return make


@pytest.fixture
def fetch(jp_serverapp, http_server_client, jp_base_url):
    """Ask for a path under the API exactly as it is written; the server's answer, whatever its status.

    body: text or bytes as they are, anything else as JSON. who: the name that the request gives as its token.
    """

    async def ask(path, method="GET", body=None, params=None, who=None, headers=None):
        if body is None and method in ("POST", "PUT", "PATCH"):
            body = b""
        if not isinstance(body, str | bytes | None):
            body = json.dumps(body)
        query = f"?{urlencode(params)}" if params else ""
        token = who or jp_serverapp.identity_provider.token
        return await http_server_client.fetch(
            f"{jp_base_url}medfusion/api/{path}{query}",
            method=method,
            body=body,
            headers={"Authorization": f"token {token}", **(headers or {})},
            allow_nonstandard_methods=True,
            raise_error=False,
        )

    return ask


@pytest.fixture
def ask(fetch):
    """The JSON that the server answers; it must not refuse."""

    async def call(*path, method="GET", body=None, who=None, **params):
        answer = await fetch("/".join(path), method, body, params, who)
        assert answer.code < 300, answer.body
        return json.loads(answer.body) if answer.body else None

    return call


@pytest.fixture
def refused(fetch):
    """The status and the JSON of a refusal, which has the one shape of errors."""

    async def call(*path, method="GET", body=None, who=None, **params):
        answer = await fetch("/".join(path), method, body, params, who)
        told = json.loads(answer.body)
        assert set(told) == {"code", "message", "field"}
        assert answer.code >= 400
        assert answer.headers["Content-Type"] == "application/json"
        return answer.code, told

    return call
