"""The callback that saves a run to the disk: after each epoch, every so many minutes, and when it is asked to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.store.checkpoints import best_of
from medfusion_jupyter.training.callbacks import Callback
from medfusion_jupyter.training.checkpoints import CheckpointWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from medfusion_jupyter.settings.checkpoints import CheckpointSettings
    from medfusion_jupyter.store import Store
    from medfusion_jupyter.training.state import LoopState


class Checkpointer(Callback):
    """Saves, and deletes what is no longer needed: kept are the best epochs, and of all checkpoints the newest two.

    Two, so that where the last one is damaged there is one before it; of a run that came to its end, the last one.
    snapshot: gives everything of the run, as `Loop.snapshot`; description: what a file says beside that.
    """

    essential = True

    def __init__(
        self,
        store: Store,
        job_id: str,
        run_token: str,
        folder: Path,
        settings: CheckpointSettings,
        description: Mapping[str, Any],
        snapshot: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]],
    ) -> None:
        self.store = store
        self.job_id = job_id
        self.run_token = run_token
        self.folder = folder
        self.settings = settings
        self.description = description
        self.snapshot = snapshot
        self.writer = CheckpointWriter()
        self._saved_at = 0.0
        self._saved_step = -1

    def fit_start(self, state: LoopState) -> None:
        self._saved_at = time.monotonic()
        self._saved_step = state.step

    def batch_end(self, state: LoopState) -> None:
        minutes = self.settings.checkpoint_minutes
        if minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes:
            state.checkpoint_wanted = True

    def checkpoint_wanted(self, state: LoopState) -> None:
        self._save(state, self.folder / f"epoch-{state.finished_epochs:04d}-step-{state.step:07d}.safetensors")

    def epoch_end(self, state: LoopState) -> None:
        self._save(state, self.folder / f"epoch-{state.epoch:04d}.safetensors", dict(state.row))

    def fit_end(self, state: LoopState) -> None:
        if state.stopped and state.step > self._saved_step:
            self.checkpoint_wanted(state)
        self.writer.wait()
        if not state.stopped:
            self._delete_all_but(newest=1)

    def _save(self, state: LoopState, path: Path, metrics: dict[str, float] | None = None) -> None:
        """metrics: those of the epoch that has just ended; None within one."""
        epoch, step = state.finished_epochs, state.step
        is_best = metrics is not None and state.best_epoch == epoch

        def keep(size: int) -> None:
            # what was recorded before this checkpoint is committed before the checkpoint is known
            self.store.writer.flush()
            self.store.checkpoints.add(
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
        self.writer.save(path, tensors, {**self.description, **of_run, "metrics": metrics or {}}, keep)
        self._saved_at, self._saved_step = time.monotonic(), step

    def _delete_all_but(self, newest: int) -> None:
        """Keep so many of the newest, and the best."""
        there = self.store.checkpoints.list(self.job_id)
        best = best_of(there)
        for one in there[:-newest]:
            if one != best:
                self.store.checkpoints.remove(one.id)
                Path(one.checkpoint_path).unlink(missing_ok=True)
