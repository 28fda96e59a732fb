"""Seconds that the extension adds to the start of jupyter-server until it answers, and whether it imports what is heavy."""

import re
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from peer import said, versions
from rounds import environment, interleave, report
from serving import jupyter_server, make_mlflow_store, mlflow_server

ROUNDS = 11
HEAVY = ("torch", "sqlalchemy", "pandas", "numpy", "pydantic", "alembic")
BARE, OURS = "jupyter-server alone", "jupyter-server with MedFusion"
IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)


def seconds(home: Path, *, extension: bool) -> float:
    with jupyter_server(home, extension=extension) as server:
        return server.seconds


def imported(home: Path, log: Path, *, extension: bool) -> set[str]:
    """The packages that the server has imported when it answers."""
    with jupyter_server(home, extension=extension, flags=("-X", "importtime"), log=log):
        names = IMPORTED.findall(log.read_text(encoding="utf-8", errors="replace"))
    return {name.split(".")[0] for name in names}


if __name__ == "__main__":
    found = versions("mlflow")
    print(environment("jupyter-server", "tornado"))
    print(f"\n{said(found)}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        home, folder = Path(scratch) / "home", Path(scratch) / "mlflow"
        contenders: dict[str, Callable[[], float]] = {
            BARE: lambda: seconds(home, extension=False),
            OURS: lambda: seconds(home, extension=True),
        }
        if found["mlflow"]:
            make_mlflow_store(folder, runs=1)

            def mlflow() -> float:
                with mlflow_server(folder) as server:
                    return server.seconds

            contenders["MLflow's server"] = mlflow
        figures = interleave(contenders, ROUNDS)
        report("Start until the server answers", figures, against=BARE, unit="s")
        added = statistics.median(figures[OURS]) - statistics.median(figures[BARE])
        apart = statistics.median(a - b for a, b in zip(figures[OURS], figures[BARE], strict=True))
        print(
            f"\nThe extension adds {added * 1000:.0f} ms (difference of medians; median of the rounds' {apart * 1000:.0f})."
        )
        log = Path(scratch) / "log"
        without, with_it = imported(home, log, extension=False), imported(home, log, extension=True)
    assert "medfusion_jupyter" in with_it - without
    heavy = [name for name in HEAVY if name in with_it]
    print(
        f"\nOf {', '.join(HEAVY)} the server with the extension has imported {', '.join(heavy) or 'none'} when it answers."
    )
    print(f"Packages that the extension adds: {', '.join(sorted(with_it - without))}.")
