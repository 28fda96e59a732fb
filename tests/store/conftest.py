import pytest

from medfusion_jupyter.store import open_store


@pytest.fixture
def store(either_database):
    """The store of this test, on each database in turn; `ada` is one of its admins."""
    store = open_store()
    store.admins = frozenset({"ada"})
    yield store
    store.close()


@pytest.fixture
def sqlite_store(medfusion_home):
    """The store of a test that is of SQLite alone."""
    store = open_store()
    yield store
    store.close()


@pytest.fixture
def new_job(store, here):
    """Make a job; with `status`, one that a run of this process has brought there under the token `t`."""

    def make(name="job", status=None, training_config=None, **settings):
        job = store.jobs.create(
            name,
            model_config={},
            data_config={},
            training_config={"epochs": 3, **(training_config or {})},
            total_epochs=3,
            watched_metric="val/auroc",
            **settings,
        )
        if status is None:
            return job
        job = store.jobs.claim(job.job_id, run_token="t", **here)
        way = {
            "pending": [],
            "initializing": ["initializing"],
            "running": ["initializing", "running"],
            "paused": ["initializing", "running", "paused"],
        }
        for step in way.get(status, ["initializing", "running", status]):
            job = store.jobs.update_status(job.job_id, step, run_token="t")
        return job

    return make
