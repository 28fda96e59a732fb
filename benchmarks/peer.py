"""Peers run in environments of their own: MEDFUSION_PEERS names their interpreters, by default it is this one.

Several are parted as in PATH; a peer is run by the first that has its package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

INTERPRETERS = (os.environ.get("MEDFUSION_PEERS") or sys.executable).split(os.pathsep)
PROGRAMS = Path(__file__).parent / "peers"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}


def environment_of_peers(**more: str) -> dict[str, str]:
    """The environment of a peer's process. It does not see this project, and tells nobody of its use."""
    return {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **QUIET, **more}


def versions(*packages: str) -> dict[str, str | None]:
    """The version of each package in the first environment that has it, None where none has."""
    return {package: _installed(package)[1] for package in packages}


def interpreter_of(package: str) -> str:
    """The interpreter of the first environment that has the package. Raises LookupError where none has."""
    interpreter, version = _installed(package)
    if version is None:
        raise LookupError(f"{package} is in none of the environments of MEDFUSION_PEERS")
    return interpreter


@cache
def _installed(package: str) -> tuple[str, str | None]:
    code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    for interpreter in INTERPRETERS:
        try:
            found = subprocess.run(
                [interpreter, "-c", code, package], capture_output=True, text=True, env=environment_of_peers()
            )
        except OSError:
            continue
        if found.returncode == 0:
            return interpreter, found.stdout.strip()
    return INTERPRETERS[0], None


def said(found: dict[str, str | None]) -> str:
    """The peers in one line; what is not installed is said to be missing."""
    return "Peers: " + ", ".join(f"{name} {version or 'missing'}" for name, version in found.items()) + "."


class Peer:
    """A program of `peers/` that waits for questions: a line of JSON each, answered by a line of JSON.

    package: what it measures; it runs in the environment that has it.
    """

    def __init__(self, program: str, *arguments: str, package: str) -> None:
        self._process = subprocess.Popen(
            [interpreter_of(package), str(PROGRAMS / program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment_of_peers(),
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """Have it done. Raises RuntimeError where the program has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
