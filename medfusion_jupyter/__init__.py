"""The package behind `import medfusion`, and what Jupyter asks of a server and lab extension."""

from __future__ import annotations

import os
from typing import Any

if "OMP_WAIT_POLICY" not in os.environ:
    # By default torch's threads spin for milliseconds while they wait for one another. Where other processes use the cores too,
    # each small operation then waits for a thread that has none, and a step takes ten times as long. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "medfusion-jupyter"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from medfusion_jupyter.server.app import MedFusionApp

    return [{"module": "medfusion_jupyter.server.app", "app": MedFusionApp}]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # `jupyter server extension list` shows it
        from importlib.metadata import version

        return version("medfusion-jupyter")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
