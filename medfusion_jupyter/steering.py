"""Commands to a job in words: what `medfusion pause JOB` in a terminal and `%medfusion pause JOB` in a notebook share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medfusion_jupyter.store import JobSummary

WHAT_THEY_DO = {
    "pause": "rest when the step under way is done; the device's memory is given back",
    "resume": "go on after a pause; a job that has ended goes on from its last checkpoint",
    "stop": "end when the step under way is done, and keep the best epoch as the model",
    "checkpoint": "save now, so that a resume goes on from there",
    "set": "change settings of a job that runs, such as lr=1e-4 epochs=40 patience=none unfreeze=all",
}
"""What can be asked of a job, and what it means."""


def ask(job_id: str, command: str, words: Sequence[str] = ()) -> str:
    """Ask the run of a job, in whatever process it is, for one of WHAT_THEY_DO; gives what to tell.

    words: of `set`, each a setting and its value. Raises ConfigError and what `jobs.request` raises.
    """
    from medfusion_jupyter.store import open_store

    store, changes = open_store(), None
    if command == "set":
        from medfusion_jupyter.settings.keywords import read_keywords
        from medfusion_jupyter.settings.live import live_changes

        changes = live_changes(store.jobs.get(job_id).training_config, read_keywords(words))
    store.jobs.request(job_id, command, changes)
    store.writer.wake()
    asked = command if changes is None else ", ".join(f"{name}={value}" for name, value in changes.items())
    return f"{job_id}: {asked} is asked for; it obeys when the step under way is done."


def read_fork(words: Sequence[str]) -> dict[str, Any]:
    """`epoch=5 lr=1e-4 name=slower` as keywords of `job.fork`. Raises ConfigError for a word that is none."""
    from medfusion_jupyter.settings.keywords import read_keywords
    from medfusion_jupyter.settings.training import ConfigError

    keywords = read_keywords(words)
    for place in ("epoch", "step"):
        if place in keywords and not (type(keywords[place]) is int and keywords[place] >= 0):
            raise ConfigError(f"{place}={keywords[place]!r}: give the whole number of a checkpoint's {place}.")
    for text in ("name", "description"):
        if text in keywords:
            keywords[text] = next(word for word in words if word.startswith(f"{text}=")).partition("=")[2]
    return keywords


def in_one_line(job: JobSummary) -> str:
    """A job's state, as `status` prints it."""
    where, at = f"epoch {job.current_epoch}/{job.total_epochs}", f" at epoch {job.best_epoch}"
    if job.num_folds is not None:
        where, at = f"{job.folds_done} of {job.num_folds} folds done", ""
    best = f", best {job.watched_metric} {job.best_value:.3f}{at}" if job.best_value is not None else ""
    error = f": {job.error}" if job.error else ""
    return f"{job.job_id} {job.name}: {job.status}, {where}{best}{error}"
