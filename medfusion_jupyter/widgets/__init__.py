"""What a notebook shows: the live monitor of a job, the workflow editor, and the store's lists as tables.

Names are imported when they are first used; nothing here imports torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medfusion_jupyter.widgets.job_monitor import Monitor as Monitor
    from medfusion_jupyter.widgets.job_monitor import monitor as monitor
    from medfusion_jupyter.widgets.lists import datasets as datasets
    from medfusion_jupyter.widgets.lists import jobs as jobs
    from medfusion_jupyter.widgets.lists import models as models
    from medfusion_jupyter.widgets.lists import workflows as workflows
    from medfusion_jupyter.widgets.workflow_builder import Builder as Builder
    from medfusion_jupyter.widgets.workflow_builder import builder as builder

_MODULE_OF = {
    "Builder": "workflow_builder",
    "Monitor": "job_monitor",
    "builder": "workflow_builder",
    "datasets": "lists",
    "jobs": "lists",
    "models": "lists",
    "monitor": "job_monitor",
    "workflows": "lists",
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
