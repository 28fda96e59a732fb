"""A store of its own for every test, and the real data where they are present."""

import os
import shutil
import socket
import subprocess
import tempfile
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


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory):
    """A PostgreSQL server of this test run: a function that makes an empty database and gives its URL."""
    found = shutil.which("initdb") or next(
        iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None
    )
    if found is None:
        pytest.skip("no PostgreSQL here: install Debian's package postgresql to run its tests")
    programs = Path(os.path.realpath(found)).parent
    # PostgreSQL does not run as root, and its folder must be its own
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="medfusion-postgresql-"))
    if as_user:
        shutil.chown(folder, "postgres")
    data = folder / "data"

    def run(program, *arguments):
        subprocess.run(
            [*as_user, programs / program, *arguments], check=True, capture_output=True, cwd="/", timeout=120
        )

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run("initdb", "-D", data, "-A", "trust", "-U", "medfusion", "--no-sync", "-E", "UTF8", "--locale=C")
    run("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", f"-p {port} -k {folder} -c fsync=off", "start")
    made = []

    def database():
        import psycopg

        made.append(f"test{len(made)}")
        with psycopg.connect(
            f"host=127.0.0.1 port={port} user=medfusion dbname=postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {made[-1]}")
        return f"postgresql+psycopg://medfusion@127.0.0.1:{port}/{made[-1]}"

    yield database
    run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


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
