"""A run that is paused gives its device back: its tensors wait on the host, and come back with the same bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medfusion_jupyter.data.batches import BatchSource

if TYPE_CHECKING:
    from medfusion_jupyter.training.state import LoopState


def storages_of(state: LoopState) -> list[torch.UntypedStorage]:
    """The memory of the model, its average and the optimiser's moments, each once, however many tensors look at it."""
    modules = [state.model] if state.ema is None else [state.model, state.ema]
    tensors: list[Tensor] = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    tensors += [value for slots in state.optimizer.state.values() for value in slots.values() if torch.is_tensor(value)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors if tensor.numel()}
    return list(storages.values())


class Parked:
    """Storages whose bytes are on the host. Every tensor that looks at one stays what it is, and must not be read meanwhile."""

    def __init__(self, storages: Iterable[torch.UntypedStorage]) -> None:
        self._kept: list[tuple[torch.UntypedStorage, torch.UntypedStorage]] = []
        for storage in storages:
            host = torch.UntypedStorage(storage.nbytes())  # type: ignore[no-untyped-call]
            host.copy_(storage)
            self._kept.append((storage, host))
            storage.resize_(0)

    def bring_back(self) -> None:
        """Raises torch.OutOfMemoryError where the device has no room for them any longer."""
        while self._kept:
            storage, host = self._kept[-1]
            storage.resize_(host.nbytes())
            storage.copy_(host)
            self._kept.pop()


class Parking:
    """What of a run lies on a device, and where it is while the run is paused. On a CPU nothing is moved."""

    def __init__(self, state: LoopState, sources: Iterable[BatchSource]) -> None:
        self.state = state
        self.sources = list(sources)
        self.needed = any(source.device != "cpu" for source in self.sources)
        self._parked: Parked | None = None

    def leave(self) -> None:
        """Move it to the host, drop the gradients and the pixels, which the host has too, and empty torch's cache."""
        if not self.needed:
            return
        for parameter in self.state.model.parameters():
            parameter.grad = None
        self._parked = Parked(one for one in storages_of(self.state) if one.device.type != "cpu")
        for source in self.sources:
            source.leave_device()
        torch.cuda.empty_cache()

    def come_back(self) -> None:
        """Move it back, where it has left. Raises torch.OutOfMemoryError."""
        if self._parked is None:
            return
        self._parked.bring_back()
        self._parked = None
        for source in self.sources:
            source.return_to_device()
