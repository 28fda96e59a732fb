"""What the tests of faults share: other processes that hold the database, and what the writer complains of."""

import datetime as dt
import sqlite3
import subprocess
import sys
import textwrap
import threading

from medfusion_jupyter.store.tables import JobRow, now

SETTINGS = {"model_config": {}, "data_config": {}, "training_config": {}, "total_epochs": 1, "watched_metric": "m"}


class Other:
    """Another process: it runs `script`, which prints `ready` and then reads a line before it goes on."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def go_on(self):
        """Let it go on, and wait for its end; what it printed."""
        out, _ = self.process.communicate("go\n", timeout=60)
        assert self.process.returncode == 0
        return out

    def kill(self):
        self.process.kill()
        self.process.communicate()


def hold_sqlite(path, statement="BEGIN EXCLUSIVE"):
    return Other(
        """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute(sys.argv[2])
        print("ready", flush=True)
        sys.stdin.readline()
        connection.execute("ROLLBACK")
        """,
        path,
        statement,
    )


def hold_postgresql(url, statement):
    return Other(
        """
        import psycopg, sys
        with psycopg.connect(sys.argv[1].replace("+psycopg", "")) as connection:
            connection.execute(sys.argv[2])
            print("ready", flush=True)
            sys.stdin.readline()
        """,
        url,
        statement,
    )


def is_sound(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class Complaints:
    """What the writer logs; `first` is set at the first complaint."""

    def __init__(self, caplog):
        self.first = threading.Event()
        self.lines = []
        caplog.handler.addFilter(self)

    def filter(self, record):
        if "tried again" in record.getMessage():
            self.lines.append(record.getMessage())
            self.first.set()
        return True


def silent_job(store, here):
    """A job whose process has not been heard of for an hour."""
    job = store.jobs.create("job", **SETTINGS)
    store.jobs.claim(job.job_id, run_token="t", **here)
    for status in ("initializing", "running"):
        store.jobs.update_status(job.job_id, status, run_token="t")
    with store.writing() as session:
        session.get(JobRow, job.pk).heartbeat_at = now() - dt.timedelta(hours=1)
    return job
