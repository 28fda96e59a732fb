"""One mind of several loops: what the first rank hears and decides, all of them do after the same batch."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.training.callbacks import Callback
from medfusion_jupyter.training.control import Control
from medfusion_jupyter.training.parallel.sharing import SharedForward, share

if TYPE_CHECKING:
    from medfusion_jupyter.training.loop import Loop
    from medfusion_jupyter.training.parallel.ranks import Ranks
    from medfusion_jupyter.training.state import LoopState


class SharedControl(Control):
    """Keeps what the first rank hears until `relay`, which gives it to the loops of all ranks at once."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self.ranks = ranks
        self._mail = threading.Condition()
        self._heard: list[tuple[str, Mapping[str, Any] | None]] = []

    def deliver(self, command: str, arguments: Mapping[str, Any] | None = None) -> None:
        with self._mail:
            self._heard.append((command, arguments))
            self._mail.notify_all()

    def abandon(self) -> None:
        self.deliver("abandon")

    def unheard(self) -> list[tuple[str, dict[str, Any]]]:
        with self._mail:
            left = [(command, dict(arguments or {})) for command, arguments in self._heard if command != "abandon"]
        return super().unheard() + left

    def relay(self, finish_early: bool) -> bool:
        """Called by every rank at the same place: delivers the first one's commands, and gives its `finish_early`."""
        with self._mail:
            heard, self._heard = self._heard, []
        word = self.ranks.agreed({"heard": heard, "finish_early": finish_early} if heard or finish_early else None)
        if word is None:
            return False
        for command, arguments in word["heard"]:
            if command == "abandon":
                super().abandon()
            else:
                super().deliver(command, arguments)
        return bool(word["finish_early"])

    def _wait_for_word(self) -> None:
        if self.ranks.leads:
            with self._mail:
                self._mail.wait_for(lambda: bool(self._heard))
        self.relay(finish_early=False)


class Together(Callback):
    """Relays the first rank's commands, and its end of the run by the clock. The last of a run's callbacks, on every rank."""

    essential = True

    def __init__(self, ranks: Ranks, control: Control) -> None:
        assert isinstance(control, SharedControl)
        self.ranks = ranks
        self.control = control
        self._forward: SharedForward | None = None

    def take_part_in(self, loop: Loop) -> None:
        """Make `loop` one of those that share each batch."""
        self._forward = share(loop, self.ranks)

    def epoch_start(self, state: LoopState) -> None:
        assert self._forward is not None
        self._forward.wrap()

    def changed(self, state: LoopState) -> None:
        self.epoch_start(state)

    def paused(self, state: LoopState) -> None:
        assert self._forward is not None
        self._forward.unwrap()

    def resumed(self, state: LoopState) -> None:
        self.epoch_start(state)

    def batch_end(self, state: LoopState) -> None:
        state.finish_early = self.control.relay(state.finish_early)

    def epoch_end(self, state: LoopState) -> None:
        self.batch_end(state)
