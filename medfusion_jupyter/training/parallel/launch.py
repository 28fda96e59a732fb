"""The side of the run's own process: it starts the ranks, waits for them, and says what became of them."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import psutil

log = logging.getLogger("medfusion")

AGENT = "medfusion_jupyter.training.parallel.agent"
"""Named, not imported: torchrun's launcher takes a third of a second, and a run on one device has no use for it."""
FAILURES = "failures.json"
SAID = "medfusion: "
"""How a line begins that is for the people of the run's own process."""
LOOK_SECONDS = 0.2
ENDING_SECONDS = 40.0
"""torchrun's agent gives its processes 30 s to end before it kills them."""


class RankFailed(RuntimeError):
    """One of the processes that share a run raised; the message is what it said."""


class RankKilled(RuntimeError):
    """One of the processes that share a run was ended from without."""


def train_together(job_id: str, run_token: str, *, kind: str, devices: int, look: Callable[[], None]) -> None:
    """Have `devices` processes train a job, on `cpu` or `cuda`, and return when they have.

    look: called five times a second meanwhile; what it raises ends them. Raises RankFailed and RankKilled when all have ended.
    """
    with tempfile.TemporaryDirectory(prefix="medfusion-ranks-") as folder:
        written = Path(folder) / "output.txt"
        with open(written, "w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", AGENT, job_id, run_token, kind, str(devices), str(os.getpid()), folder],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(devices),
                # an interrupt of the kernel is not for them
                start_new_session=True,
            )
        with open(written, encoding="utf-8", errors="replace") as output:
            try:
                while process.poll() is None:
                    look()
                    _pass_on(output)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(LOOK_SECONDS)
            finally:
                _end(process)
                _pass_on(output)
        if process.returncode:
            log.debug("%s", written.read_text(encoding="utf-8", errors="replace"))
            raise_first(Path(folder) / FAILURES, devices)


def _pass_on(output: TextIO) -> None:
    """Say here what the first rank has to say; the rest of what they write is of no interest unless they fail."""
    while True:
        place, line = output.tell(), output.readline()
        if not line.endswith("\n"):
            output.seek(place)  # the rest of it is still to come
            return
        if line.startswith(SAID):
            log.warning("%s", line.removeprefix(SAID).strip())


def _environment(devices: int) -> dict[str, str]:
    package = str(Path(__file__).parents[3])
    # the name of the machine may lead nowhere, and they need not be heard outside it
    loopback = next(
        (name for name, at in psutil.net_if_addrs().items() if any(a.address == "127.0.0.1" for a in at)), "lo"
    )
    return {
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        "OMP_NUM_THREADS": str(max(1, (psutil.cpu_count(logical=False) or 1) // devices)),
        **os.environ,
        # decoded images are in memory once, in that of the disk, and not once a process
        "MEDFUSION_CACHE_MEMORY": "0",
        "PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def raise_first(path: Path, devices: int) -> None:
    """Raise what the first to fail said: of those that were only ended for its sake, or lost it, nothing is heard."""
    failures: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    own = [one for one in failures if not one["lost"]]
    # the agent ends the others by SIGTERM
    by_itself = [one for one in own if one["exit_code"] != -signal.SIGTERM]
    killed = [one for one in by_itself if not one["said"]]
    first = min(killed or by_itself or own or failures, key=lambda one: one["at"], default=None)
    if first is None:
        raise RankKilled("the processes that shared the run were ended")
    if first["said"]:
        raise RankFailed(first["said"])
    code = first["exit_code"]
    how = f"killed ({signal.Signals(-code).name})" if code < 0 else f"ended (exit code {code})"
    raise RankKilled(f"process {first['rank'] + 1} of {devices} was {how}, and the others were ended")
