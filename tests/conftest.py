"""A store of its own for every test, and the real data where they are present."""

import os
import socket
from pathlib import Path

import pytest
from postgresql import Server

# one thread for torch: the tests compare numbers, and its threads wait for one another by spinning, which takes the cores from
# the browser, the kernels and the servers of a test
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def medfusion_home(tmp_path, monkeypatch):
    """MEDFUSION_HOME of this test alone."""
    home = tmp_path / "medfusion-home"
    monkeypatch.setenv("MEDFUSION_HOME", str(home))
    monkeypatch.delenv("MEDFUSION_DATABASE_URL", raising=False)
    return home


@pytest.fixture(scope="session")
def postgresql_server():
    """A PostgreSQL server of this test run: a function that makes an empty database and gives its URL."""
    with Server() as server:
        yield server.database


@pytest.fixture(params=["sqlite", "postgresql"])
def either_database(request, monkeypatch, medfusion_home):
    """The test runs twice: on SQLite and on PostgreSQL."""
    if request.param == "postgresql":
        monkeypatch.setenv("MEDFUSION_DATABASE_URL", request.getfixturevalue("postgresql_server")())
    return request.param


@pytest.fixture
def store(medfusion_home):
    """The store of this test, closed at its end."""
    from medfusion_jupyter.store import open_store

    store = open_store()
    yield store
    store.close()


@pytest.fixture(scope="session")
def here():
    """This process, as a run that claims a job names it."""
    import psutil

    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "kernel_id": None,
    }


@pytest.fixture(scope="session")
def hannover():
    """The folder of the Hannover radiographs: $MEDFUSION_TEST_DATA/hannover-cxr, or beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MEDFUSION_TEST_DATA", beside)) / "hannover-cxr"
    if not (folder / "data.csv").exists():
        pytest.skip(f"the Hannover radiographs are not at {folder}; MEDFUSION_TEST_DATA names another folder")
    return folder


@pytest.fixture
def hannover_cohort(hannover):
    """The radiographs with their laboratory values; the target is whether the patient came to intensive care."""
    import pandas as pd

    import medfusion as mf

    table = pd.read_csv(hannover / "data.csv")
    table["icu"] = table["icu_admission_offset"].notna()
    laboratory = [column for column in table if column.endswith("_val")]

    def make(numeric=laboratory, **roles):
        usual = {"image": "image_id", "image_root": hannover / "images", "categorical": ["sex"]}
        return mf.Cohort(table, target="icu", patient="patient_id", numeric=numeric, **{**usual, **roles})

    return make
