"""How a training begins: what it is told and what is stored of it first, here or in the queue. Handles on it: `job.py`."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.data.image_columns import TABLE
from medfusion_jupyter.store import Store, home, open_store
from medfusion_jupyter.store.errors import BadValue
from medfusion_jupyter.training.callbacks import check_callbacks
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.devices import choose_device, choose_kind
from medfusion_jupyter.training.fitting import fitted, refuse_unseen
from medfusion_jupyter.training.freezing import refuse_unknown_parts
from medfusion_jupyter.training.parallel.runs import start_run
from medfusion_jupyter.training.preparation import class_weights, modalities_of, refuse_absent
from medfusion_jupyter.training.run import Run, saved_split
from medfusion_jupyter.training.starting_weights import check_image_weights

if TYPE_CHECKING:
    from medfusion_jupyter.store import Job as JobRecord

RUNS: dict[str, Run] = {}
"""The runs of this process by job id."""


class JobFailed(RuntimeError):
    """A job that was waited for did not come to its end."""


def check_turn(callbacks: Sequence[Any], detach: bool, priority: int, not_before: dt.datetime | None) -> Sequence[Any]:
    """The callbacks, where they and the place in the queue go together. Raises ConfigError."""
    if not detach and (priority or not_before is not None):
        raise ConfigError("priority and not_before are of the queue: they need detach=True.")
    if not_before is not None and not_before.tzinfo is None:
        raise ConfigError(f"not_before={not_before.isoformat()} has no time zone: add one, as by .astimezone().")
    callbacks = check_callbacks(callbacks)
    if detach and callbacks:
        raise ConfigError("callbacks are objects of this process: a job in a kernel of its own cannot have them.")
    return callbacks


def check_devices(config: TrainingConfig, callbacks: Sequence[Any]) -> None:
    """Raise ConfigError where this machine has not the device, or not so many, or callbacks could not be on them."""
    if config.devices == 1:
        choose_device(config.device)
        return
    choose_kind(config.device, config.devices)
    if callbacks:
        raise ConfigError(
            f"callbacks are objects of this process: with devices={config.devices} others train, which cannot have them. "
            "Leave callbacks out, or set devices=1."
        )


def run_here(
    split: Split,
    config: TrainingConfig,
    *,
    callbacks: Sequence[Any] = (),
    workflow_execution_id: int | None = None,
    by: str | None = None,
) -> Run:
    """Train on a split in this process, as a new job. Raises ConfigError where the settings do not fit the target.

    callbacks: as of `train`; workflow_execution_id: the execution that it is a node of; by: its owner, by default the person
    this process works for.
    """
    store, config = open_store(), fitted(config, split.cohort.target.tasks)
    record = store_job(store, split, config, workflow_execution_id=workflow_execution_id, by=by)
    read = partial(remember, split, record.job_id)
    RUNS[record.job_id] = start_run(store, record.job_id, read, config, callbacks=callbacks)
    return RUNS[record.job_id]


def go_on(store: Store, record: JobRecord, callbacks: Sequence[Any]) -> None:
    """Go on in this process with a job that has ended, or begin one that is stored with a checkpoint to begin from."""
    config = TrainingConfig.of(record.training_config)
    check_devices(config, callbacks)
    RUNS[record.job_id] = start_run(store, record.job_id, split_of(record), config, callbacks=callbacks)


def store_job(store: Store, split: Split, config: TrainingConfig, **lineage: Any) -> JobRecord:
    """A new pending job. lineage: what it is a part of, as of `store.jobs.create`."""
    whole, plan = split.cohort, plan_of(split, config)
    return store.jobs.create(
        name=config.name or name_of(config, whole),
        description=config.description,
        model_config=plan["model_config"],
        data_config=plan["data_config"],
        # with the encoders that are in fact used: read back, every setting counts as asked for by name
        training_config={**config.model_dump(mode="json"), **plan["model_config"]},
        total_epochs=config.epochs,
        watched_metric=config.watch,
        dataset_fingerprint=whole.fingerprint,
        versions=versions(),
        **lineage,
    )


def split_for(cohort: Cohort | Split, config: TrainingConfig) -> Split:
    """The split to train on. Raises ConfigError where a part is missing, CohortError where the cohort cannot be split so."""
    split = cohort if isinstance(cohort, Split) else cohort.split(test=config.test, val=config.val, seed=config.seed)
    if not len(split.val):
        raise ConfigError("The split has no validation part (val=0): there is nothing to choose the best epoch by.")
    if len(split.train) < 2:
        raise ConfigError(f"The training part has {len(split.train)} row; at least 2 are needed.")
    refuse_unseen(split)
    return split


def plan_of(split: Split, config: TrainingConfig) -> dict[str, dict[str, Any]]:
    """model_config and data_config of a job: the parts of its model and the roles of its columns. Raises ConfigError."""
    whole = split.cohort
    used = modalities_of(config, whole)
    refuse_absent(split, used)
    class_weights(split, config)
    check_image_weights(config.image_encoder if used[0] != TABLE else None, config.image_weights)
    if used[0] != TABLE:
        refuse_unknown_parts(config, config.freeze, "freeze")
        refuse_unknown_parts(config, config.unfreeze, "unfreeze")
    return {
        "model_config": {
            **config.parts(),
            "image_encoder": config.image_encoder if used[0] != TABLE else None,
            "tabular_encoder": config.tabular_encoder if TABLE in used else None,
        },
        "data_config": {
            **whole.roles(),
            "dataset": whole.name,
            "rows": {part: len(rows) for part, rows in split.rows.items()},
        },
    }


def remember(split: Split, job_id: str) -> Split:
    """Write the cohort and the split of a job: what a resume, in whatever process, needs."""
    whole = split.cohort
    whole.write(home() / "datasets" / whole.fingerprint)
    split.write(home() / "jobs" / job_id / "split.json")
    return split


def split_of(record: JobRecord) -> Callable[[], Split]:
    """How to read the split that a job was started with. Raises JobFailed where it was never written."""
    refuse_cross_validation(record)
    folder, fingerprint = home() / "jobs" / record.job_id, record.dataset_fingerprint
    if fingerprint is None or not (folder / "split.json").exists():
        raise JobFailed(f"{record.job_id} ended before its cohort was written; start it anew with mf.train.")
    return lambda: saved_split(folder, fingerprint)


def refuse_cross_validation(record: JobRecord) -> None:
    """Raise BadValue for the job that stands for all folds, with the handle that it has."""
    if record.num_folds is not None:
        raise BadValue(
            f"{record.job_id} is a cross-validation: mf.load_cross_validation({record.job_id!r}) is its handle, and its "
            "resume() goes on with the folds that are missing."
        )


def name_of(config: TrainingConfig, cohort: Cohort) -> str:
    """The name of a job that was given none: its cohort and the parts of its model."""
    modalities = modalities_of(config, cohort)
    parts = [cohort.name or cohort.target.name]
    parts += [config.image_encoder or ""] if modalities[0] != TABLE else []
    parts += [config.tabular_encoder or ""] if TABLE in modalities else []
    return "-".join([*parts, config.fusion] if len(modalities) > 1 else parts)


def versions() -> dict[str, str]:
    """What a job is trained with, by package."""
    from importlib.metadata import version

    packages = ("medfusion-jupyter", "torch", "numpy", "pandas")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
