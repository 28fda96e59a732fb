"""A PostgreSQL server for tests, in a folder of its own."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest


class Server:
    """A running server. As a context it is stopped at the end, and its folder is gone."""

    def __init__(self):
        found = shutil.which("initdb") or next(
            iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None
        )
        if found is None:
            pytest.skip("no PostgreSQL here: install Debian's package postgresql to run its tests")
        self._programs = Path(os.path.realpath(found)).parent
        # PostgreSQL does not run as root, and its folder must be its own
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._folder = Path(tempfile.mkdtemp(prefix="medfusion-postgresql-"))
        if self._as_user:
            shutil.chown(self._folder, "postgres")
        self._data = self._folder / "data"
        self._made = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "medfusion", "--no-sync", "-E", "UTF8", "--locale=C")
        self.start()

    def start(self):
        settings = f"-p {self.port} -k {self._folder} -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self._folder / "log", "-o", settings, "start")

    def stop(self, mode="immediate"):
        """mode: `fast` ends the connections in order, `immediate` as a crash does."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def restart(self, mode):
        self.stop(mode)
        self.start()

    def database(self):
        """Make an empty database; its URL."""
        import psycopg

        self._made += 1
        name = f"test{self._made}"
        with psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=medfusion dbname=postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://medfusion@127.0.0.1:{self.port}/{name}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program, *arguments):
        command = [*self._as_user, self._programs / program, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=120)
