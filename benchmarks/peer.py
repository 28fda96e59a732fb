"""Peers run in an environment of their own: MEDFUSION_PEERS names its interpreter, by default it is this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

INTERPRETER = os.environ.get("MEDFUSION_PEERS") or sys.executable
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
    """The version of each package that the peers' interpreter has, None where it has none."""
    code = (
        "import json, sys\nfrom importlib.metadata import version, PackageNotFoundError\n"
        "def of(p):\n try: return version(p)\n except PackageNotFoundError: return None\n"
        "print(json.dumps({p: of(p) for p in sys.argv[1:]}))"
    )
    try:
        out = subprocess.run(
            [INTERPRETER, "-c", code, *packages], capture_output=True, text=True, check=True, env=environment_of_peers()
        )
    except (OSError, subprocess.CalledProcessError):
        return dict.fromkeys(packages)
    found: dict[str, str | None] = json.loads(out.stdout)
    return found


def said(found: dict[str, str | None]) -> str:
    """The peers in one line; what is not installed is said to be missing."""
    return "Peers: " + ", ".join(f"{name} {version or 'missing'}" for name, version in found.items()) + "."


class Peer:
    """A program of `peers/` that waits for questions: a line of JSON each, answered by a line of JSON."""

    def __init__(self, program: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [INTERPRETER, str(PROGRAMS / program), *arguments],
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
