"""A store of its own for every test, and the real data where they are present."""

import os
from pathlib import Path

import pytest

# one thread for torch: the tests compare numbers, and two cores are shared with a browser and kernels
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(autouse=True)
def medfusion_home(tmp_path, monkeypatch):
    """MEDFUSION_HOME of this test alone."""
    home = tmp_path / "medfusion-home"
    monkeypatch.setenv("MEDFUSION_HOME", str(home))
    monkeypatch.delenv("MEDFUSION_DATABASE_URL", raising=False)
    return home


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
    import socket

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
