"""Servers as they are used, each a process of its own, and requests to them over one connection that stays open."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peer import PROGRAMS, environment_of_peers, interpreter_of

PATIENCE_SECONDS = 90.0


@dataclass(frozen=True)
class Server:
    """A server that answers. seconds: how long that took from its start."""

    port: int
    seconds: float
    token: str | None = None

    def connect(self) -> Connection:
        """A connection that sends the token, where there is one."""
        return Connection(self.port, self.token)


class Connection:
    """Requests, one after another, over one connection."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"token {token}"} if token else {})

    def send(self, path: str, body: object = None) -> tuple[int, bytes]:
        """The status and body of the answer; with `body` it is a POST."""
        content = None if body is None else json.dumps(body)
        self._http.request("GET" if body is None else "POST", path, content, self._headers)
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def seconds(self, path: str, body: object = None) -> float:
        """How long the answer took. Raises RuntimeError where it is not 200."""
        began = time.perf_counter()
        status, content = self.send(path, body)
        took = time.perf_counter() - began
        if status != 200:
            raise RuntimeError(f"{path}: {status} {content[:300]!r}")
        return took


@contextmanager
def jupyter_server(
    home: Path, *, extension: bool = True, flags: tuple[str, ...] = (), log: Path | None = None
) -> Iterator[Server]:
    """jupyter-server with a token and without any other extension, over the MedFusion store in `home`."""
    port, token = _free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {f"JUPYTER_{kind}_DIR": f"{scratch}/{kind}" for kind in ("CONFIG", "DATA", "RUNTIME")}
        environment = {**os.environ, **folders, "JUPYTER_NO_CONFIG": "1", "MEDFUSION_HOME": str(home)}
        environment.pop("MEDFUSION_DATABASE_URL", None)
        command = [sys.executable, *flags, "-m", "jupyter_server", "--allow-root", "--no-browser"]
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
        command += [f"--ServerApp.root_dir={scratch}"]
        command += ["--ServerApp.jpserver_extensions={'medfusion_jupyter': True}"] if extension else []
        path = "/medfusion/api/system/health/live" if extension else "/api/status"
        with _running(command, environment, port, path, token, log) as server:
            yield server


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """MLflow's tracking server with one worker, over `mlflow.db` in `folder`."""
    port = _free_port()
    command = [
        interpreter_of("mlflow"),
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
    ]
    command += ["--port", str(port), "--workers", "1", "--default-artifact-root", str(folder / "artifacts")]
    # it would close a connection that is silent for 5 seconds, while others have their turn
    command += ["--uvicorn-opts", "--timeout-keep-alive 600"]
    with _running(command, environment_of_peers(), port, "/health", None, None) as server:
        yield server


def make_mlflow_store(folder: Path, *, runs: int, points: int = 0) -> dict[str, str]:
    """Fill `mlflow.db` in `folder`; gives the ids of its experiment and of its first run, whose series has `points`."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [interpreter_of("mlflow"), str(PROGRAMS / "mlflow_store.py"), str(folder), str(runs), str(points)]
    out = subprocess.run(arguments, capture_output=True, text=True, env=environment_of_peers())
    if out.returncode:
        raise RuntimeError(out.stderr[-2000:])
    ids: dict[str, str] = json.loads(out.stdout.strip().splitlines()[-1])
    return ids


def percentiles(requests: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[list[float]]]:
    """Seconds of each contender's requests by round, in turn: 20 a round, less of a slow one, of a very slow one in 3 rounds."""
    a_round: dict[str, int] = {}
    for name, request in requests.items():
        request()
        a_round[name] = max(1, min(20, int(0.2 / request())))
    very_slow = {name for name, request in requests.items() if a_round[name] == 1 and request() > 1.0}
    figures: dict[str, list[list[float]]] = {name: [] for name in requests}
    for round_ in range(rounds):
        for name, request in requests.items():
            if name not in very_slow or round_ < 3:
                figures[name].append([request() for _ in range(a_round[name])])
    return figures


def report_percentiles(title: str, figures: Mapping[str, list[list[float]]], *, against: str) -> None:
    """Print a table: lowest, p50 and p95 of all requests, and the ratio of each round's median to that of `against`."""
    print(f"\n### {title}\n")
    print(f"| | lowest (ms) | p50 (ms) | p95 (ms) | requests | ratio to {against}: median [quartiles] |")
    print("|---|---|---|---|---|---|")
    for name, rounds in figures.items():
        every = sorted(value for round_ in rounds for value in round_)
        ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(rounds, figures[against], strict=False)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        p95 = every[min(len(every) - 1, int(len(every) * 0.95))]
        cells = [f"{value * 1000:.3g}" for value in (every[0], statistics.median(every), p95)]
        cells += [str(len(every)), f"{middle:.2f} [{low:.2f}, {high:.2f}]"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], port: int, path: str, token: str | None, log: Path | None
) -> Iterator[Server]:
    with (log or Path(os.devnull)).open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while not _answers(port, path, token):
                if process.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
                if time.perf_counter() - began > PATIENCE_SECONDS:
                    raise RuntimeError(f"{' '.join(command)} does not answer")
                time.sleep(0.005)
            yield Server(port, time.perf_counter() - began, token)
        finally:
            # it may have workers
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(port: int, path: str, token: str | None) -> bool:
    try:
        return Connection(port, token).send(path)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
