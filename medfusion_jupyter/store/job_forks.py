"""Forks: a new job that begins from a checkpoint of another one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from medfusion_jupyter.store import events
from medfusion_jupyter.store.checkpoints import Checkpoint
from medfusion_jupyter.store.durable_files import write_durably
from medfusion_jupyter.store.errors import CheckpointGone
from medfusion_jupyter.store.job_folds import JobFolds
from medfusion_jupyter.store.job_moves import add_job, find_job
from medfusion_jupyter.store.job_record import Job
from medfusion_jupyter.store.location import home
from medfusion_jupyter.store.people import current_person
from medfusion_jupyter.store.tables import CheckpointRow


class JobForks(JobFolds):
    """Making a job whose first checkpoint is another job's."""

    def fork(
        self,
        job_id: str,
        checkpoint: Checkpoint,
        *,
        training_config: Mapping[str, Any],
        changes: Mapping[str, Any],
        name: str | None = None,
        description: str = "",
        versions: Mapping[str, str] | None = None,
        by: str | None = None,
    ) -> Job:
        """Store a pending job that goes on from a checkpoint of `job_id` with other settings.

        changes: what differs from the parent's settings, kept with the job and in its event. The file of the checkpoint is the
        fork's own from now on (a second link to it, or a copy), so the parent may delete its own. Raises NotYours, and
        CheckpointGone for a checkpoint whose file is not there.
        """
        by = by or current_person()
        with self._store.writing() as session:
            parent = find_job(session, job_id, lock=True)
            self._store.refuse_stranger(parent.created_by, by, parent.job_id)
            origin = {"epoch": checkpoint.epoch, "step": checkpoint.step}
            row = add_job(
                session,
                name=name or parent.name,
                description=description,
                model_config=parent.model_config,
                data_config=parent.data_config,
                training_config=training_config,
                versions=versions or {},
                total_epochs=training_config["epochs"],
                watched_metric=training_config["watch"],
                dataset_fingerprint=parent.dataset_fingerprint,
                parent_job_id=parent.id,
                created_by=by,
            )
            row.fork = {**origin, "changes": dict(changes)}
            row.current_epoch = checkpoint.epoch
            value = checkpoint.metrics.get(row.watched_metric)
            if value is not None:
                row.best_epoch, row.best_value = checkpoint.epoch, value
            path = _take_over(Path(checkpoint.checkpoint_path), parent.job_id, row.job_id)
            row.checkpoint_path = str(path)
            session.add(
                CheckpointRow(
                    job_id=row.id,
                    **origin,
                    metrics=checkpoint.metrics,
                    checkpoint_path=str(path),
                    file_size=checkpoint.file_size,
                    is_best=value is not None,
                )
            )
            events.record(session, "forked", "job", row.job_id, {"from": parent.job_id, **row.fork}, by)
            session.flush()
            return Job.of(row)


def _take_over(checkpoint: Path, parent: str, fork: str) -> Path:
    """Give a fork its checkpoint and the split of its parent; gives the path of the checkpoint."""
    jobs = home() / "jobs"
    split = jobs / parent / "split.json"
    try:
        for file in (split, checkpoint):
            write_durably(jobs / fork / file.name, partial(_link_or_copy, file))
    except OSError as error:
        shutil.rmtree(jobs / fork, ignore_errors=True)
        if not isinstance(error, FileNotFoundError):
            raise
        raise CheckpointGone(
            f"{file} of {parent} is not there: fork from another checkpoint, where its files are."
        ) from None
    return jobs / fork / checkpoint.name


def _link_or_copy(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # a file system without links, or another one
        shutil.copyfile(file, to)
