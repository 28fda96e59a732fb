"""The callback that saves a run to the disk: after each epoch, every so many minutes, and when it is asked to."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.store.checkpoints import best_of
from medfusion_jupyter.store.insistent import insist, insistent
from medfusion_jupyter.training.callbacks import Callback
from medfusion_jupyter.training.checkpoints import CheckpointError, CheckpointWriter
from medfusion_jupyter.training.state import changed_by_steps_alone
from medfusion_jupyter.training.stopping import beats, sign_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from medfusion_jupyter.settings.training import TrainingSettings
    from medfusion_jupyter.store import Store
    from medfusion_jupyter.store.checkpoints import Checkpoint
    from medfusion_jupyter.training.state import LoopState

log = logging.getLogger("medfusion")


class Checkpointer(Callback):
    """Saves, and deletes what is no longer needed: kept are the best epochs, and of all checkpoints the newest two.

    Two, so that where the last one is damaged there is one before it; of a run that came to its end, the last one.
    A disk that is full does not end the run: this is said, the checkpoint is tried again, and those before it stay.
    snapshot: gives everything of the run, as `Loop.snapshot`; description: what a file says beside that. weights_rest: whether
    nothing but a step changes the weights; the user's callbacks may do so at any time.
    """

    essential = True

    def __init__(
        self,
        store: Store,
        job_id: str,
        run_token: str,
        folder: Path,
        settings: TrainingSettings,
        description: Mapping[str, Any],
        snapshot: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]],
        *,
        weights_rest: bool,
    ) -> None:
        self.store = store
        self.job_id = job_id
        self.run_token = run_token
        self.folder = folder
        self.settings = settings
        self.description = description
        self.snapshot = snapshot
        self.weights_rest = weights_rest
        self.writer = CheckpointWriter(on_failure=self._say)
        self._jobs = insistent(store.jobs)
        self._checkpoints = insistent(store.checkpoints)
        self._saved_at = 0.0
        self._saved_step = -1

    def fit_start(self, state: LoopState) -> None:
        self._saved_at = time.monotonic()
        self._saved_step = state.step
        self._leave_lost_best(state)

    def before_optimizer_step(self, state: LoopState) -> None:
        self.writer.let_change()

    def batch_end(self, state: LoopState) -> None:
        minutes = self.settings.checkpoint_minutes
        if minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes:
            state.checkpoint_wanted = True

    def checkpoint_wanted(self, state: LoopState) -> None:
        self._save(state, f"epoch-{state.finished_epochs:04d}-step-{state.step:07d}")

    def epoch_end(self, state: LoopState) -> None:
        self._save(state, f"epoch-{state.epoch:04d}", dict(state.row))

    def fit_end(self, state: LoopState) -> None:
        if not state.stopped:
            self.writer.close()
            self._delete_all_but(newest=1)
            return
        try:
            if state.step > self._saved_step:
                self.checkpoint_wanted(state)
            self.writer.close()
        except CheckpointError as error:
            log.warning("%s was stopped. A resume goes on from the checkpoint before it: %s", self.job_id, error)

    def _save(self, state: LoopState, name: str, metrics: dict[str, float] | None = None) -> None:
        """metrics: those of the epoch that has just ended; None within one."""
        try:
            self.writer.wait()
        except CheckpointError:  # it was said
            self._leave_lost_best(state)
        epoch, step, path = state.finished_epochs, state.step, self.folder / f"{name}.safetensors"
        is_best = metrics is not None and state.best_epoch == epoch

        def keep(size: int) -> None:
            # what was recorded before this checkpoint is committed before the checkpoint is known
            insist(self.store.writer.flush)
            self._checkpoints.add(
                self.job_id,
                run_token=self.run_token,
                epoch=epoch,
                step=step,
                metrics=metrics or {},
                path=str(path),
                file_size=size,
                is_best=is_best,
            )
            self._delete_all_but(newest=2)

        tensors, of_run = self.snapshot()
        resting = changed_by_steps_alone(state, tensors) if self.weights_rest else ()
        self.writer.save(path, tensors, {**self.description, **of_run, "metrics": metrics or {}}, keep, resting)
        self._saved_at, self._saved_step = time.monotonic(), step

    def _delete_all_but(self, newest: int) -> None:
        """Keep so many of the newest, and the best."""
        there = self._checkpoints.list(self.job_id)
        kept = {one.id for one in [*there[-newest:], *self._best(there)]}
        for one in there:
            if one.id not in kept:
                self._checkpoints.remove(one.id)
                Path(one.checkpoint_path).unlink(missing_ok=True)

    def _best(self, there: Sequence[Checkpoint]) -> list[Checkpoint]:
        """The best `save_top_k` of the epochs, the model's among them."""
        epochs, count = [one for one in there if one.finishes_epoch], self.settings.save_top_k
        if count == -1:
            return epochs
        model = best_of(there)
        rest = [one for one in self._ranked(epochs) if one != model]
        return [*([] if model is None else [model]), *rest[: count - 1]]

    def _ranked(self, epochs: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Those that have the watched metric, the best first."""
        watch = self.settings.watch
        judged = [one for one in epochs if one.metrics.get(watch) is not None]
        return sorted(judged, key=lambda one: sign_of(watch) * one.metrics[watch], reverse=True)

    def _leave_lost_best(self, state: LoopState) -> None:
        """Where the best epoch is not on the disk, the best is one that is, or the epoch that has just ended."""
        kept = [one for one in self._checkpoints.list(self.job_id) if one.finishes_epoch]
        if state.best_epoch is None or state.best_epoch in [state.epoch, *(one.epoch for one in kept)]:
            return
        watch = self.settings.watch
        best = next(iter(self._ranked(kept)), None)
        state.best_epoch, state.best_value = (None, None) if best is None else (best.epoch, best.metrics[watch])
        self._checkpoints.mark_best(self.job_id, run_token=self.run_token, checkpoint=best, value=state.best_value)
        value = state.row.get(watch)
        if value is not None and beats(watch, value, state.best_value):
            state.best_epoch, state.best_value = state.epoch, value
            self._jobs.set_best(self.job_id, run_token=self.run_token, epoch=state.epoch, value=value)

    def _say(self, error: CheckpointError) -> None:
        log.warning("%s: %s The training goes on, and it is tried again.", self.job_id, error)
        self._jobs.note_event(self.job_id, "checkpoint_failed", {"error": str(error)}, run_token=self.run_token)
