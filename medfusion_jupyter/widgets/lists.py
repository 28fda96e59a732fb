"""The store's lists as DataFrames, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.settings.watched import headline, words_of
from medfusion_jupyter.store import open_store

if TYPE_CHECKING:
    import pandas as pd


def jobs(
    *, status: str | None = None, search: str | None = None, parent: str | None = None, limit: int = 50
) -> pd.DataFrame:
    """The newest training jobs. status: only those in this state; search: part of the name or id; limit: 1 to 500.

    A cross-validation is one row, its epochs are those of all its folds. parent: its id, to list its folds instead.
    """
    columns = ["name", "status", "epoch", "folds", "watched", "best", "created", "duration", "error"]
    page = open_store().jobs.list(
        status=status, search=search, parent_job_id=parent, folds=parent is not None, limit=limit
    )
    rows = (
        {
            "job_id": job.job_id,
            "name": job.name,
            "status": str(job.status),
            "epoch": f"{job.current_epoch}/{job.total_epochs}",
            "folds": "" if job.num_folds is None else f"{job.folds_done}/{job.num_folds}",
            "watched": job.watched_metric,
            "best": job.best_value,
            "created": job.created_at.replace(microsecond=0),
            "duration": None if job.duration is None else round(job.duration, 1),
            "error": job.error or "",
        }
        for job in page.items
    )
    return _frame("job_id", columns, rows)


def models(*, search: str | None = None, folds: bool = False, limit: int = 50) -> pd.DataFrame:
    """The newest models, each with its first metric of validation and that one's 95 % interval.

    search: part of the name or description; limit: 1 to 500.
    folds: True shows the models of the folds of cross-validations too; those that have an alias are always shown.
    """
    columns = ["name", "version", "metric", "value", "low", "high", "backbone", "job_id", "epoch", "created", "MB"]
    page = open_store().models.list(search=search, folds=folds, limit=limit)
    rows = (
        {
            "id": model.id,
            "name": model.name,
            "version": model.version,
            "metric": words_of(name := headline(model.metrics)),
            "value": model.metrics.get(name),
            "low": model.metrics.get(f"{name}_low"),
            "high": model.metrics.get(f"{name}_high"),
            "backbone": model.backbone,
            "job_id": model.training_job_id,
            "epoch": model.trained_epochs,
            "created": model.created_at.replace(microsecond=0),
            "MB": round(model.file_size / 1e6, 1),
        }
        for model in page.items
    )
    return _frame("id", columns, rows)


def datasets(*, search: str | None = None, limit: int = 50) -> pd.DataFrame:
    """The saved cohorts, newest first. search: part of the name or description; limit: 1 to 500."""
    columns = ["rows", "patients", "classes", "fingerprint", "created"]
    page = open_store().datasets.list(search=search, limit=limit)
    rows = (
        {
            "name": dataset.name,
            "rows": dataset.num_samples,
            "patients": dataset.num_patients,
            "classes": ", ".join(f"{name} {count}" for name, count in dataset.class_distribution.items()),
            "fingerprint": dataset.fingerprint,
            "created": dataset.created_at.replace(microsecond=0),
        }
        for dataset in page.items
    )
    return _frame("name", columns, rows)


def workflows(*, search: str | None = None, limit: int = 50) -> pd.DataFrame:
    """The saved workflows, newest first. search: part of the name; limit: 1 to 500."""
    columns = ["name", "version", "nodes", "runs", "updated"]
    page = open_store().workflows.list(search=search, limit=limit)
    rows = (
        {
            "id": workflow.id,
            "name": workflow.name,
            "version": workflow.version,
            "nodes": len(workflow.nodes),
            "runs": workflow.execution_count,
            "updated": workflow.updated_at.replace(microsecond=0),
        }
        for workflow in page.items
    )
    return _frame("id", columns, rows)


def _frame(index: str, columns: list[str], rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=[index, *columns]).set_index(index)
