"""Trials before a run: which learning rate, which batch size. Nothing is stored, and no generator is left changed."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.store import home
from medfusion_jupyter.training.assembly import build_loop, build_state, callbacks_of
from medfusion_jupyter.training.callbacks import Callback, Callbacks
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.control import Control, Stopped
from medfusion_jupyter.training.devices import choose_device, computing, is_out_of_memory, memory_in_use
from medfusion_jupyter.training.finder_view import Curve, curve_html
from medfusion_jupyter.training.fitting import fitted
from medfusion_jupyter.training.freezing import Freezing
from medfusion_jupyter.training.generators import generators_kept, seed_all
from medfusion_jupyter.training.loop import Loop, LossIsNotFinite
from medfusion_jupyter.training.preparation import prepare
from medfusion_jupyter.training.schedule import Schedule
from medfusion_jupyter.training.starting import RUNS, plan_of, split_for

if TYPE_CHECKING:
    import pandas as pd

    from medfusion_jupyter.training.state import LoopState

NEVER = 10**9
LEAST_STEPS = 10
"""A curve of fewer steps says nothing."""
DIVERGED = 4.0
"""A smoothed loss of so many times the lowest ends the search for a rate."""
NEAR_BEST = 1.1
"""A batch size is as good as the fastest where a sample takes at most so many times its time."""


@dataclass(frozen=True, eq=False)
class LRSearch:
    """What a learning rate range test found. In a notebook it shows its curve.

    suggestion: the rate where the loss falls fastest, or None where it never falls. data: columns lr, loss and smoothed, a row
    a step.
    """

    suggestion: float | None
    data: pd.DataFrame

    def __repr__(self) -> str:
        found = "no suggestion: the loss never fell" if self.suggestion is None else f"lr={self.suggestion:.2g}"
        lr = self.data["lr"]
        return f"<LRSearch {found}; {len(lr)} steps from {lr.iloc[0]:.2g} to {lr.iloc[-1]:.2g}>"

    def _repr_html_(self) -> str:
        curve = Curve("learning rate", "loss", self.data["lr"].tolist(), self.data["loss"].tolist())
        smooth = self.data["smoothed"].tolist()
        said = "The loss never fell: try other settings" if self.suggestion is None else f"lr={self.suggestion:.2g}"
        return curve_html(replace(curve, smooth=smooth, mark=self.suggestion), said)


@dataclass(frozen=True, eq=False)
class BatchSizeSearch:
    """What a search by doubling found. In a notebook it shows its curve.

    suggestion: the smallest size that is within a tenth of the fastest a sample. largest: the largest that could be trained.
    ended: why no larger one was tried. data: columns batch_size, seconds_per_sample, samples_per_second and memory_bytes (the
    peak on the GPU, or of this process on a CPU).
    """

    suggestion: int
    largest: int
    ended: str
    data: pd.DataFrame

    def __repr__(self) -> str:
        return f"<BatchSizeSearch batch_size={self.suggestion}; largest {self.largest}: {self.ended}>"

    def _repr_html_(self) -> str:
        sizes = self.data["batch_size"].astype(float).tolist()
        curve = Curve("batch size", "samples/s", sizes, self.data["samples_per_second"].tolist())
        said = f"batch_size={self.suggestion} · largest {self.largest}: {self.ended}"
        return curve_html(replace(curve, mark=float(self.suggestion)), said)


def find_lr(
    cohort: Cohort | Split, *, min_lr: float = 1e-6, max_lr: float = 1.0, steps: int = 100, **settings: Any
) -> LRSearch:
    """Train for `steps` steps at rates from min_lr to max_lr, each a like factor above the last, and watch the loss.

    settings: those of `mf.train`; an encoder_lr keeps its ratio to lr. The model is a new one each time. Suggests the rate at
    which the smoothed loss falls fastest, and stops where it has grown to 4 times its lowest. Raises ConfigError for settings
    that are not allowed, or while a job trains in this process.

    Smith, "Cyclical learning rates for training neural networks", WACV 2017.
    """
    if not 0 < min_lr < max_lr <= 10:
        raise ConfigError(f"min_lr={min_lr} and max_lr={max_lr}: give 0 < min_lr < max_lr <= 10.")
    if steps < LEAST_STEPS:
        raise ConfigError(f"steps={steps} are too few for a curve: give {LEAST_STEPS} or more.")
    config = _on_one_device(TrainingConfig.of(settings))
    watcher = _LossWatcher(steps)
    with _alone(), _trial(split_for(cohort, config), config, watcher) as loop:
        sweep = _Sweep(first=min_lr / config.lr, last=max_lr / config.lr, steps=steps)
        loop.settings = replace(loop.settings, schedule=sweep)
        loop.state.epochs = NEVER
        try:
            loop.run()
        except LossIsNotFinite:
            if len(watcher.seen) < LEAST_STEPS:
                raise
    return _lr_search(watcher.seen)


def find_batch_size(
    cohort: Cohort | Split, *, start: int = 8, max_batch_size: int = 65_536, steps: int = 5, **settings: Any
) -> BatchSizeSearch:
    """Train for a few steps at batch sizes that double, until memory is full, or one batch holds all training rows.

    start: the smallest size; steps: timed at each size, after one that is not. settings: those of `mf.train`. On a CPU it ends
    where the next size would need more memory than is free. Raises ConfigError for settings that are not allowed, where not
    even the smallest size can be trained, or while a job trains in this process.
    """
    if "batch_size" in settings:
        raise ConfigError("batch_size is what is looked for: leave it out, or give start and max_batch_size.")
    if not 2 <= start <= max_batch_size <= 65_536:
        raise ConfigError(
            f"start={start} and max_batch_size={max_batch_size}: give 2 <= start <= max_batch_size <= 65536."
        )
    config = _on_one_device(TrainingConfig.of({"batch_size": start, **settings}))
    split = split_for(cohort, config)
    tried: list[dict[str, float]] = []
    ended = f"max_batch_size={max_batch_size}"
    size = min(start, len(split.train))
    with _alone():
        while size <= max_batch_size:
            free = psutil.virtual_memory().available
            try:
                row, grown = _timed(split, config.model_copy(update={"batch_size": size}), steps)
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if not is_out_of_memory(error):
                    raise
                ended = f"no memory for {size}"
                break
            finally:
                _free()
            tried.append(row)
            if size >= len(split.train):
                ended = "all training rows are in one batch"
                break
            if choose_device(config.device) == "cpu" and 2 * grown > free:
                ended = f"{2 * size} would need more memory than is free"
                break
            size = min(2 * size, len(split.train))
    if not tried:
        raise ConfigError(f"There is no memory for start={start} at image_size={config.image_size}: lower one of them.")
    return _batch_size_search(tried, ended)


class _LossWatcher(Callback):
    """Collects losses and rates, and ends the trial after so many steps or when the loss has diverged."""

    essential = True

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.seen: list[tuple[float, float]] = []
        self._running = 0.0
        self._lowest = math.inf

    def losses(self, state: LoopState) -> None:
        for _, loss, rate in state.read_losses:
            self.seen.append((rate, loss))
            count = len(self.seen)
            self._running = 0.9 * self._running + 0.1 * loss
            smoothed = self._running / (1 - 0.9**count)
            self._lowest = min(self._lowest, smoothed)
            if count >= self.steps or (count >= LEAST_STEPS and smoothed > DIVERGED * self._lowest):
                raise Stopped


class _Stopwatch(Callback):
    """Times so many steps after the first, and looks at the memory where a forward pass holds most of it."""

    essential = True

    def __init__(self, steps: int, device: str) -> None:
        self.steps = steps
        self.device = device
        self.seconds: list[float] = []
        self.memory = self.at_first = memory_in_use(device)
        self._began: float | None = None

    def fit_start(self, state: LoopState) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
        state.model.register_forward_hook(lambda *_: self._look())

    def _look(self) -> None:
        self.memory = max(self.memory, memory_in_use(self.device))

    def step_end(self, state: LoopState) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        self._look()
        now = time.perf_counter()
        if self._began is not None:
            self.seconds.append((now - self._began) / (state.samples - self._samples))
        self._began, self._samples = now, state.samples
        if len(self.seconds) == self.steps:
            raise Stopped

    _samples = 0


@dataclass(frozen=True)
class _Sweep(Schedule):
    """From the share `first` to `last` of the peak rate, by the same factor each step."""

    first: float = 1.0
    last: float = 1.0
    steps: int = 2

    def share(self, step: int, *, total_steps: int, steps_per_epoch: int) -> float:
        factor: float = (self.last / self.first) ** (step / (self.steps - 1))
        return self.first * factor


def _on_one_device(config: TrainingConfig) -> TrainingConfig:
    if config.devices > 1:
        raise ConfigError(
            f"devices={config.devices}: a trial is of one device; leave devices out. The learning rate that it finds is for "
            "batch_size rows on however many, the batch size is for each of them."
        )
    return config


@contextmanager
def _alone() -> Iterator[None]:
    """No job trains in this process: a trial would change its generators, and take its memory."""
    at_work = [job_id for job_id, run in RUNS.items() if not run.ended.is_set()]
    if at_work:
        raise ConfigError(f"{at_work[0]} trains in this process: wait for it or stop it first.")
    with generators_kept():
        yield


@contextmanager
def _trial(split: Split, config: TrainingConfig, watcher: Callback) -> Iterator[Loop]:
    """A loop over a new model that validates and stores nothing."""
    device = choose_device(config.device)
    config = fitted(config, split.cohort.target.tasks)
    plan_of(split, config)
    with computing(device, precision=config.precision, deterministic=config.deterministic):
        seed_all(config.seed)
        prepared = prepare(split, config, device=device, cache_dir=home() / "cache" / "pixels")
        state = build_state(prepared, config, device)
        shaping = [callback for callback in callbacks_of(config, state) if isinstance(callback, Freezing)]
        loop = build_loop(state, prepared, config, device, Callbacks([*shaping, watcher]), Control())
        loop.settings = replace(loop.settings, validate_every=NEVER)
        yield loop


def _timed(split: Split, config: TrainingConfig, steps: int) -> tuple[dict[str, float], int]:
    """A row of the result, and the bytes that the trial took beyond what was in use before it."""
    watch = _Stopwatch(steps, choose_device(config.device))
    with _trial(split, config, watch) as loop:
        loop.state.epochs = NEVER
        loop.run()
    seconds = statistics.median(watch.seconds)
    row = {
        "batch_size": config.batch_size,
        "seconds_per_sample": seconds,
        "samples_per_second": 1 / seconds,
        "memory_bytes": watch.memory,
    }
    return row, watch.memory - watch.at_first


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def smoothed(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each loss averaged with those around it, a fifth of the curve wide: without the lag of a running mean."""
    half = max(1, len(losses) // 10)
    kernel = np.hanning(2 * half + 3)[1:-1]
    weights = np.convolve(np.ones(len(losses)), kernel, mode="same")
    means: NDArray[np.float64] = np.convolve(losses, kernel, mode="same") / weights
    return means


def _lr_search(seen: list[tuple[float, float]]) -> LRSearch:
    import pandas as pd

    rates, losses = np.asarray(seen, dtype=np.float64).T
    curve = smoothed(losses)
    slope = np.gradient(curve, np.log(rates))
    falling = int(np.argmin(slope[: int(np.argmin(curve)) + 1]))
    suggestion = float(rates[falling]) if slope[falling] < 0 else None
    return LRSearch(suggestion, pd.DataFrame({"lr": rates, "loss": losses, "smoothed": curve}))


def _batch_size_search(tried: list[dict[str, float]], ended: str) -> BatchSizeSearch:
    import pandas as pd

    data = pd.DataFrame(tried)
    fastest = data["seconds_per_sample"].min()
    good = data["batch_size"][data["seconds_per_sample"] <= NEAR_BEST * fastest]
    return BatchSizeSearch(int(good.min()), int(data["batch_size"].max()), ended, data)
