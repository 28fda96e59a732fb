"""Queueing a fork, for REST and the command line: all that can be known of it without the model is checked at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.settings.forking import changes_between, settings_of_fork
from medfusion_jupyter.settings.training import TrainingSettings

if TYPE_CHECKING:
    from medfusion_jupyter.store import Checkpoint, Job, Store


def queue_fork(
    store: Store,
    job_id: str,
    *,
    epoch: int | None = None,
    step: int | None = None,
    changes: Mapping[str, Any],
    name: str | None = None,
    description: str = "",
    priority: int = 0,
    not_before: dt.datetime | None = None,
    by: str | None = None,
) -> Job:
    """Store a job that begins from a checkpoint of `job_id`, and put it into the queue.

    epoch, step: which checkpoint, by default the newest; changes: settings that differ from the parent's. Raises ConfigError
    for a change that is not allowed, naming it, and BadValue where there is no such checkpoint, naming those there are.
    """
    parent = store.jobs.get(job_id)

    def fork(chosen: Checkpoint) -> Job:
        keywords = settings_of_fork(
            parent.training_config,
            changes,
            epoch=chosen.epoch,
            within_epoch=not chosen.finishes_epoch,
            with_model=False,
        )
        settings = TrainingSettings.of({**keywords, "name": name, "description": description})
        training_config = settings.model_dump(mode="json")
        return store.jobs.fork(
            job_id,
            chosen,
            training_config=training_config,
            changes=changes_between(parent.training_config, training_config),
            name=settings.name,
            description=settings.description,
            by=by,
        )

    made = store.checkpoints.made_from(job_id, fork, epoch=epoch, step=step)
    return store.queue.add(made.job_id, priority=priority, not_before=not_before, by=by)
