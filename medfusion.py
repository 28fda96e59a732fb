"""MedFusion for Jupyter: `import medfusion as mf` and `%load_ext medfusion`.

This module holds names only. Each is imported from its room at first use, so that importing `medfusion` costs
nothing and loads neither torch, pandas nor SQLAlchemy.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from medfusion_jupyter.data import (
        Cohort,
        Multilabel,
        Ordinal,
        Regression,
        Survival,
        days_since,
        infer_columns,
        public_cohort,
        public_cohorts,
        read_dicom_folder,
        read_image,
        read_medmnist,
        synthetic_cohort,
        synthetic_interaction,
        synthetic_survival,
    )
    from medfusion_jupyter.evaluation import Ablation, ablation, evaluate, load_ablation
    from medfusion_jupyter.settings.augmentation import Augmentation
    from medfusion_jupyter.training import (
        Callback,
        CrossValidation,
        Job,
        Model,
        cross_validate,
        find_batch_size,
        find_lr,
        load_cross_validation,
        load_job,
        load_model,
        resume,
        train,
    )
    from medfusion_jupyter.widgets import builder, datasets, jobs, models, monitor, workflows
    from medfusion_jupyter.workflows.own_node import node
    from medfusion_jupyter.workflows.workflow import Workflow, load_workflow

_ROOM_OF = {
    "Cohort": "medfusion_jupyter.data",
    "Multilabel": "medfusion_jupyter.data",
    "Ordinal": "medfusion_jupyter.data",
    "Regression": "medfusion_jupyter.data",
    "Survival": "medfusion_jupyter.data",
    "days_since": "medfusion_jupyter.data",
    "infer_columns": "medfusion_jupyter.data",
    "public_cohort": "medfusion_jupyter.data",
    "public_cohorts": "medfusion_jupyter.data",
    "read_dicom_folder": "medfusion_jupyter.data",
    "read_image": "medfusion_jupyter.data",
    "read_medmnist": "medfusion_jupyter.data",
    "synthetic_cohort": "medfusion_jupyter.data",
    "synthetic_interaction": "medfusion_jupyter.data",
    "synthetic_survival": "medfusion_jupyter.data",
    "Callback": "medfusion_jupyter.training",
    "Job": "medfusion_jupyter.training",
    "Model": "medfusion_jupyter.training",
    "find_batch_size": "medfusion_jupyter.training",
    "find_lr": "medfusion_jupyter.training",
    "CrossValidation": "medfusion_jupyter.training",
    "cross_validate": "medfusion_jupyter.training",
    "load_cross_validation": "medfusion_jupyter.training",
    "load_job": "medfusion_jupyter.training",
    "load_model": "medfusion_jupyter.training",
    "resume": "medfusion_jupyter.training",
    "train": "medfusion_jupyter.training",
    "Ablation": "medfusion_jupyter.evaluation",
    "ablation": "medfusion_jupyter.evaluation",
    "evaluate": "medfusion_jupyter.evaluation",
    "load_ablation": "medfusion_jupyter.evaluation",
    "builder": "medfusion_jupyter.widgets",
    "monitor": "medfusion_jupyter.widgets",
    "jobs": "medfusion_jupyter.widgets",
    "models": "medfusion_jupyter.widgets",
    "datasets": "medfusion_jupyter.widgets",
    "workflows": "medfusion_jupyter.widgets",
    "Augmentation": "medfusion_jupyter.settings.augmentation",
    "Workflow": "medfusion_jupyter.workflows.workflow",
    "node": "medfusion_jupyter.workflows.own_node",
    "load_workflow": "medfusion_jupyter.workflows.workflow",
}

__all__ = [
    "Ablation",
    "Augmentation",
    "Callback",
    "Cohort",
    "CrossValidation",
    "Job",
    "Model",
    "Multilabel",
    "Ordinal",
    "Regression",
    "Survival",
    "Workflow",
    "ablation",
    "builder",
    "cross_validate",
    "datasets",
    "days_since",
    "evaluate",
    "find_batch_size",
    "find_lr",
    "infer_columns",
    "jobs",
    "load_ablation",
    "load_cross_validation",
    "load_job",
    "load_model",
    "load_workflow",
    "models",
    "monitor",
    "node",
    "public_cohort",
    "public_cohorts",
    "read_dicom_folder",
    "read_image",
    "read_medmnist",
    "resume",
    "synthetic_cohort",
    "synthetic_interaction",
    "synthetic_survival",
    "train",
    "workflows",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("medfusion-jupyter")
    if name not in _ROOM_OF:
        import difflib

        near = difflib.get_close_matches(name, _ROOM_OF, n=1)
        hint = f" Did you mean mf.{near[0]}?" if near else ""
        raise AttributeError(f"module 'medfusion' has no name {name!r}.{hint}", name=name, obj=None)
    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Called by `%load_ext medfusion`: registers `%medfusion`."""
    from medfusion_jupyter.magics import load_ipython_extension as load

    load(ipython)


def _show_jobs_as_monitors() -> None:
    """In a notebook a cell that ends with a job shows its monitor, with `%load_ext medfusion` or without."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        from medfusion_jupyter.widgets.display import register

        register(shell)


_show_jobs_as_monitors()
