"""A jupyter-server with the extension, for the tests of this folder alone: elsewhere its event loop would be in the way."""

import pytest
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
