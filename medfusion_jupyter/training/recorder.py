"""The callback that remembers a run in the store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.store.insistent import insistent
from medfusion_jupyter.training.callbacks import Callback
from medfusion_jupyter.training.devices import memory_in_use

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store
    from medfusion_jupyter.training.state import LoopState


class Recorder(Callback):
    """Writes metrics, epochs and pauses to the store, and answers the writer thread's question how far the run is."""

    essential = True

    def __init__(self, store: Store, job_pk: int, job_id: str, run_token: str, device: str, devices: int = 1) -> None:
        """devices: how many share the run; their memory is told of `device`, this process's own."""
        self.store = store
        self._jobs = insistent(store.jobs)
        self.job_pk = job_pk
        self.job_id = job_id
        self.run_token = run_token
        self.device = device
        self.shown_as = device if devices == 1 else f"{devices} × {device.split(':')[0]}"
        self._state: LoopState | None = None
        self._metrics: dict[str, float] = {}
        self._first_step = 0
        self._began = 0.0
        self._rested = 0.0
        self._rest_began: float | None = None

    def fit_start(self, state: LoopState) -> None:
        self._first_step = state.step
        self._began = time.monotonic()
        self._state = state

    def losses(self, state: LoopState) -> None:
        append, pk = self.store.writer.append, self.job_pk
        for step, loss, rate in state.read_losses:
            append(pk, "train/loss", step, loss)
            append(pk, "lr", step, rate)
        self._metrics["train/loss"] = state.read_losses[-1][1]
        self._metrics["lr"] = state.read_losses[-1][2]

    def validated(self, state: LoopState) -> None:
        for name, value in state.row.items():
            if name.startswith("val/"):
                self.store.writer.append(self.job_pk, name, state.step, value)
        self._metrics.update(state.row)

    def epoch_end(self, state: LoopState) -> None:
        self.validated(state)
        self._metrics.update({k: v for k, v in state.row.items() if k != "seconds"})
        self._jobs.finish_epoch(
            self.job_id, run_token=self.run_token, epoch=state.epoch, row={"epoch": state.epoch, **state.row}
        )
        if state.best_epoch == state.epoch and state.best_value is not None:
            self._jobs.set_best(self.job_id, run_token=self.run_token, epoch=state.epoch, value=state.best_value)

    def paused(self, state: LoopState) -> None:
        self._rest_began = time.monotonic()
        self._jobs.update_status(self.job_id, "paused", run_token=self.run_token, step=state.step)

    def resumed(self, state: LoopState) -> None:
        if self._rest_began is not None:
            self._rested += time.monotonic() - self._rest_began
            self._rest_began = None
        self._jobs.update_status(self.job_id, "running", run_token=self.run_token, step=state.step)

    def changed(self, state: LoopState) -> None:
        kept = {**state.changes, **({"epochs": state.epochs} if "epochs" in state.changes else {})}
        if kept:
            self._jobs.note_changes(self.job_id, run_token=self.run_token, changes=kept, step=state.step)
        if state.refused:
            self._jobs.note_event(
                self.job_id, "change_refused", {"error": " ".join(state.refused.values())}, run_token=self.run_token
            )

    def progress(self) -> dict[str, Any] | None:
        """How far the run is, from any thread; None before its first step."""
        state = self._state
        if state is None:
            return None
        steps = state.step - self._first_step
        now = self._rest_began or time.monotonic()
        seconds = now - self._began - self._rested
        left = (state.total_steps - state.step) * seconds / steps if steps else None
        return {
            "progress": state.step / state.total_steps,
            "current_epoch": min(state.epoch, state.epochs),
            "current_step": state.step,
            "total_steps": state.total_steps,
            "current_metrics": dict(self._metrics),
            "samples_per_second": state.samples / seconds if seconds > 0 and steps else None,
            "seconds_left": left,
            "memory_bytes": memory_in_use(self.device),
            "device": self.shown_as,
        }
