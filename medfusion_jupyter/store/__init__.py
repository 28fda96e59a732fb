"""What is remembered: jobs, metrics, checkpoints, models, datasets and workflows in one database.

Start at `database.py` (`open_store`). Names are imported when they are first used, so that importing this package does not
load SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medfusion_jupyter.store.checkpoints import Checkpoint as Checkpoint
    from medfusion_jupyter.store.database import Store as Store
    from medfusion_jupyter.store.database import open_store as open_store
    from medfusion_jupyter.store.datasets import Dataset as Dataset
    from medfusion_jupyter.store.errors import BadValue as BadValue
    from medfusion_jupyter.store.errors import DatabaseTooNew as DatabaseTooNew
    from medfusion_jupyter.store.errors import DatabaseTrouble as DatabaseTrouble
    from medfusion_jupyter.store.errors import IllegalTransition as IllegalTransition
    from medfusion_jupyter.store.errors import NameTaken as NameTaken
    from medfusion_jupyter.store.errors import RunReplaced as RunReplaced
    from medfusion_jupyter.store.errors import StoreError as StoreError
    from medfusion_jupyter.store.errors import UnknownId as UnknownId
    from medfusion_jupyter.store.events import Event as Event
    from medfusion_jupyter.store.execution_record import Execution as Execution
    from medfusion_jupyter.store.execution_record import NodeRun as NodeRun
    from medfusion_jupyter.store.job_record import Job as Job
    from medfusion_jupyter.store.job_record import JobSummary as JobSummary
    from medfusion_jupyter.store.location import home as home
    from medfusion_jupyter.store.metrics import Series as Series
    from medfusion_jupyter.store.models import ModelRecord as ModelRecord
    from medfusion_jupyter.store.paging import BadCursor as BadCursor
    from medfusion_jupyter.store.paging import Page as Page
    from medfusion_jupyter.store.status import ACTIVE as ACTIVE
    from medfusion_jupyter.store.status import FINISHED as FINISHED
    from medfusion_jupyter.store.status import RESUMABLE as RESUMABLE
    from medfusion_jupyter.store.status import ExecutionStatus as ExecutionStatus
    from medfusion_jupyter.store.status import JobStatus as JobStatus
    from medfusion_jupyter.store.status import NodeStatus as NodeStatus
    from medfusion_jupyter.store.workflow_diff import WorkflowDiff as WorkflowDiff
    from medfusion_jupyter.store.workflow_diff import difference as difference
    from medfusion_jupyter.store.workflows import Workflow as Workflow
    from medfusion_jupyter.store.workflows import WorkflowVersion as WorkflowVersion

_MODULE_OF = {
    "ACTIVE": "status",
    "BadCursor": "paging",
    "BadValue": "errors",
    "Checkpoint": "checkpoints",
    "DatabaseTooNew": "errors",
    "DatabaseTrouble": "errors",
    "Dataset": "datasets",
    "Event": "events",
    "Execution": "execution_record",
    "ExecutionStatus": "status",
    "FINISHED": "status",
    "IllegalTransition": "errors",
    "Job": "job_record",
    "JobStatus": "status",
    "RESUMABLE": "status",
    "JobSummary": "job_record",
    "ModelRecord": "models",
    "NameTaken": "errors",
    "NodeRun": "execution_record",
    "NodeStatus": "status",
    "Page": "paging",
    "RunReplaced": "errors",
    "Series": "metrics",
    "Store": "database",
    "StoreError": "errors",
    "UnknownId": "errors",
    "Workflow": "workflows",
    "WorkflowDiff": "workflow_diff",
    "WorkflowVersion": "workflows",
    "difference": "workflow_diff",
    "home": "location",
    "open_store": "database",
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
