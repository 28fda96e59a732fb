"""What happens beside the steps: the loop announces events, callbacks act on them.

A callback defines the methods it wants; each is given the LoopState. The order of events:
`fit_start`, then for each epoch `epoch_start`, `before_optimizer_step` and `step_end` around each step of the optimiser,
`batch_end` after each batch, `losses` when step losses have been read from the device, `validated` after a validation within
the epoch, `epoch_end` after that of the epoch; `paused`, `resumed`, `changed` and `checkpoint_wanted` between steps; `fit_end`
last, also after a stop. Where memory runs out and on_out_of_memory='smaller_batch', the step under way begins anew after
`changed`, with a `batch_end` for each of its batches.

A callback may have `state_dict()`, of numbers, text, lists, dicts and tensors, and `load_state_dict(state)`: its state is then in
every checkpoint and given back before `fit_start` where a run goes on.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.training.checkpoints import without_tensors
from medfusion_jupyter.training.config import ConfigError

if TYPE_CHECKING:
    from medfusion_jupyter.training.state import LoopState

log = logging.getLogger("medfusion")

FAILURES_BORNE = 3


class Callback:
    """Does nothing on every event; override what you need.

    essential: where an exception in it ends the run as failed, as a full disk at a checkpoint must. An exception in any other is
    named in a warning and an event of the job, and the run goes on.
    """

    essential = False

    def fit_start(self, state: LoopState) -> None:
        """Before the first step of this run; state.epoch is the last finished epoch."""

    def epoch_start(self, state: LoopState) -> None:
        """Before the first step of state.epoch, or where a run goes on within it; the model is in training mode."""

    def before_optimizer_step(self, state: LoopState) -> None:
        """Before the optimiser's step, with the gradients of all its batches (scaled, with precision='fp16'). Called often."""

    def batch_end(self, state: LoopState) -> None:
        """After the gradients of a batch, and after the step where it ends one. Called often: keep it to a few instructions."""

    def step_end(self, state: LoopState) -> None:
        """After the optimiser's step state.step. Called often: keep it to a few instructions."""

    def losses(self, state: LoopState) -> None:
        """state.read_losses holds (step, loss, learning rate) of the steps since the last such event."""

    def validated(self, state: LoopState) -> None:
        """After a validation within an epoch (val_check_interval); state.row holds its metrics alone."""

    def epoch_end(self, state: LoopState) -> None:
        """After validation; state.row holds the epoch's metrics."""

    def paused(self, state: LoopState) -> None:
        """The run has come to rest between two batches."""

    def resumed(self, state: LoopState) -> None:
        """The run goes on."""

    def changed(self, state: LoopState) -> None:
        """state.changes holds settings that were changed while the run went on; they hold from the next batch on."""

    def checkpoint_wanted(self, state: LoopState) -> None:
        """A checkpoint was asked for, by a person or by a callback that set state.checkpoint_wanted; no step is under way."""

    def fit_end(self, state: LoopState) -> None:
        """After the last epoch, or after a stop."""


EVENTS = tuple(name for name in vars(Callback) if not name.startswith("_") and name != "essential")


def name_of(callback: object) -> str:
    """How a callback is called in words: its class, or the function's or module's own name."""
    return str(getattr(callback, "__name__", type(callback).__name__))


def check_callbacks(callbacks: object) -> list[Any]:
    """The callbacks as a list. Raises ConfigError for an object that has none of the methods the loop calls."""
    if not isinstance(callbacks, Sequence):
        raise ConfigError(f"callbacks={callbacks!r} must be a list of callbacks.")
    for callback in callbacks:
        if isinstance(callback, type):
            raise ConfigError(f"callbacks has the class {callback.__name__}; give an object: {callback.__name__}().")
        if any(callable(getattr(callback, event, None)) for event in EVENTS):
            continue
        own = [name for name in dir(callback) if not name.startswith("_")]
        near = [(name, close[0]) for name in own if (close := difflib.get_close_matches(name, EVENTS, n=1))]
        hint = f" Did you mean {near[0][1]!r} by its {near[0][0]!r}?" if near else ""
        raise ConfigError(
            f"The callback {name_of(callback)} has none of the methods that are called: {', '.join(EVENTS)}.{hint}"
        )
    return list(callbacks)


class Callbacks:
    """All callbacks of a run in their order; calls those that define an event, and knows whose failure ends the run.

    on_failure: told of an exception in a callback that is not essential, with the event; after FAILURES_BORNE failures of one
    event in a row the callback is not called for it again.
    """

    def __init__(
        self,
        callbacks: Sequence[Any],
        on_failure: Callable[[str, str, Exception, bool], None] | None = None,
    ) -> None:
        self.callbacks = list(callbacks)
        self._on_failure = on_failure or _warn
        self._of_event = {event: self._find(event) for event in EVENTS}

    def notify(self, event: str, state: LoopState) -> None:
        """Call the method named `event` of every callback that defines it."""
        for call in self._of_event[event]:
            call(state)

    def calls(self, event: str) -> list[Callable[[LoopState], None]]:
        """What `notify(event, state)` calls, for a loop that announces it often."""
        return self._of_event[event]

    def state_dicts(self) -> dict[str, Any]:
        """What each callback with a `state_dict` wants kept, by its key."""
        states: dict[str, Any] = {}
        for key, callback in self._keyed():
            if not callable(getattr(callback, "state_dict", None)):
                continue
            try:
                states[key] = callback.state_dict()
                without_tensors(states[key])
            except Exception as error:
                if getattr(callback, "essential", False):
                    raise
                states.pop(key, None)
                self._on_failure(name_of(callback), "state_dict", error, False)
        return states

    def load_state_dicts(self, states: Mapping[str, Any]) -> None:
        """Give each callback the state that was kept under its key; one that none takes is warned about."""
        left = dict(states)
        for key, callback in self._keyed():
            if key not in left or not callable(getattr(callback, "load_state_dict", None)):
                continue
            try:
                callback.load_state_dict(left.pop(key))
            except Exception as error:
                if getattr(callback, "essential", False):
                    raise
                self._on_failure(name_of(callback), "load_state_dict", error, False)
        for key in left:
            log.warning("The checkpoint has a state of the callback %s, which this run does not have.", key)

    def _keyed(self) -> list[tuple[str, Any]]:
        """Each callback with its class's name, and a number where there are several of it."""
        seen: dict[str, int] = {}
        keyed = []
        for callback in self.callbacks:
            name = name_of(callback)
            seen[name] = seen.get(name, 0) + 1
            keyed.append((name if seen[name] == 1 else f"{name} {seen[name]}", callback))
        return keyed

    def _find(self, event: str) -> list[Callable[[LoopState], None]]:
        nothing = getattr(Callback, event)
        calls: list[Callable[[LoopState], None]] = []
        for place, callback in enumerate(self.callbacks):
            method = getattr(callback, event, None)
            if not callable(method) or getattr(method, "__func__", None) is nothing:
                continue
            calls.append(method if getattr(callback, "essential", False) else self._guarded(place, event, method))
        return calls

    def _guarded(self, place: int, event: str, method: Callable[[LoopState], None]) -> Callable[[LoopState], None]:
        in_a_row = 0

        def call(state: LoopState) -> None:
            nonlocal in_a_row
            if in_a_row >= FAILURES_BORNE:
                return
            try:
                method(state)
                in_a_row = 0
            except Exception as error:
                in_a_row += 1
                given_up = in_a_row >= FAILURES_BORNE
                self._on_failure(name_of(self.callbacks[place]), event, error, given_up)

        return call


def _warn(name: str, event: str, error: Exception, given_up: bool) -> None:
    log.warning("%s", failure_in_words(name, event, error, given_up))


def failure_in_words(name: str, event: str, error: Exception, given_up: bool) -> str:
    """What is said of a callback that raised."""
    after = f"It is not called for {event} again" if given_up else "The run goes on"
    return f"The callback {name} failed at {event}: {type(error).__name__}: {error}. {after}."
