"""The package behind `import medfusion`, and what Jupyter asks of a server and lab extension."""

from __future__ import annotations

from typing import Any


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
