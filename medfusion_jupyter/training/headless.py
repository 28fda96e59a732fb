"""What a kernel runs that a server started for one job."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.store import IllegalTransition, Store, home, open_store
from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.fitting import fitted
from medfusion_jupyter.training.out_of_fold import keep_predictions
from medfusion_jupyter.training.parallel.runs import start_run
from medfusion_jupyter.training.run import Run
from medfusion_jupyter.training.starting import RUNS, plan_of, remember, split_for, split_of

log = logging.getLogger("medfusion")

LISTEN_SECONDS = 0.2
"""A signal that the system hands to another thread does not wake this one; it is heard when a wait ends."""


def run_queued(job_id: str) -> None:
    """Train a job that was launched from the queue and return when it has ended; an interrupt of the kernel stops it.

    Raises what keeps the job from beginning, such as ConfigError; whatever happens later is in the store.
    """
    server = os.getppid()
    try:
        run = _begin(open_store(), job_id)
    except IllegalTransition as taken:
        log.warning("%s This kernel leaves it.", taken)
        return
    stay_until(run.ended, on_interrupt=lambda: run.control.deliver("stop"))
    keep_predictions(run.store, job_id)  # of a fold of a cross-validation
    end_without(server)


def stay_until(ended: threading.Event, *, on_interrupt: Callable[[], None]) -> None:
    """Keep the kernel's main thread until `ended`."""
    while True:
        try:
            if ended.wait(LISTEN_SECONDS):
                break
        except KeyboardInterrupt:
            on_interrupt()


def _begin(store: Store, job_id: str) -> Run:
    record = store.jobs.get(job_id)
    config = TrainingConfig.of(record.training_config)
    if (home() / "jobs" / job_id / "split.json").exists():
        read = split_of(record)
    else:
        # queued over REST: what the server could not know is found out now
        dataset = store.datasets.get_by_name(record.data_config["dataset"])
        split = split_for(Cohort.read(Path(dataset.data_path)), config)
        config = fitted(config, split.cohort.target.tasks)
        store.jobs.plan(
            job_id,
            **plan_of(split, config),
            training_config=config.model_dump(mode="json"),
            watched_metric=config.watch,
            dataset_fingerprint=split.cohort.fingerprint,
        )

        def read() -> Split:
            return remember(split, job_id)

    RUNS[job_id] = start_run(store, job_id, read, config, launched=True)
    return RUNS[job_id]


def end_without(server: int) -> None:
    """End this kernel where `server`, the process that started it and would shut it down, is gone."""
    if os.getppid() == server:
        return
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.ask_exit()  # type: ignore[attr-defined]
