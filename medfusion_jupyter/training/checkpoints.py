"""Checkpoints: all that a run needs to go on, in one safetensors file an epoch.

A writer thread makes the file, from the run's own tensors where the run lets it and from copies of the others. Layout of a file:
`model/<name>`, `ema/<name>`, `optimizer/<parameter>/<slot>`, `generator/<which>`, `callbacks/<n>`, and one JSON text under
`medfusion` in the header.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medfusion_jupyter.store.durable_files import write_durably

FORMAT = 2
READABLE = (1, 2)
"""Format 1 knew no average of the weights, no state of callbacks and no place within an epoch."""

RETRY_SECONDS = 30.0
"""After a file could not be written; at the latest it is tried again when the next one is due."""

LONGEST_WAIT = 0.25
"""For tensors that are being written, as a share of the time that their file takes; beyond it they are copied from then on."""


class CheckpointError(RuntimeError):
    """A checkpoint that could not be written or read."""


@dataclass(frozen=True)
class Checkpoint:
    """What the file `path` holds: tensors by name, and the description they were saved with."""

    tensors: Mapping[str, Tensor]
    description: Mapping[str, Any]
    path: Path

    def section(self, name: str) -> dict[str, Tensor]:
        """The tensors below `name/`, without that prefix."""
        prefix = name + "/"
        return {key[len(prefix) :]: value for key, value in self.tensors.items() if key.startswith(prefix)}


class CheckpointWriter:
    """Writes one checkpoint at a time in a thread of its own; while the disk does not take it, it is tried again.

    A copy of a whole run is as large as all its weights and moments, and weights rest while a batch goes forward and backward.
    So `save` is told which tensors rest, and on a CPU writes these as they are, while the batch is computed; who is about
    to change them calls `let_change` first. Where steps are too short to write in, all is copied from then on.
    on_failure: told in that thread, once a checkpoint, why it could not be written.
    """

    def __init__(self, on_failure: Callable[[CheckpointError], None] | None = None) -> None:
        self._on_failure = on_failure
        self._copies: dict[str, Tensor] = {}
        self._borrows = True
        self._given_back = threading.Event()
        self._given_back.set()
        self._seconds = 0.0
        self._thread: threading.Thread | None = None
        self._last_try = threading.Event()
        self._error: BaseException | None = None

    def save(
        self,
        path: Path,
        tensors: Mapping[str, Tensor],
        description: Mapping[str, Any],
        then: Callable[[int], None],
        resting: Collection[str] = (),
    ) -> None:
        """Write `tensors`, as they are now, to `path`; `then(size in bytes)` is called once it is on the disk.

        resting: names of those that nobody changes before the next `let_change`. Blocks for the copy of the others, and for the
        file before it where that is still being written. Raises as `wait`.
        """
        self.wait()
        borrowed = _writable_in_place(tensors, resting) if self._borrows else {}
        self._copy({name: tensor for name, tensor in tensors.items() if name not in borrowed})
        copied = {name: self._copies[name] for name in tensors if name not in borrowed}
        if borrowed:
            self._given_back.clear()
        self._thread = threading.Thread(
            target=self._write, args=(path, copied, borrowed, dict(description), then), name="medfusion-checkpoint"
        )
        self._thread.start()

    def let_change(self) -> None:
        """Return when the tensors of the last `save` may change."""
        if self._given_back.is_set():
            return
        began = time.perf_counter()
        self._given_back.wait()
        self._borrows = time.perf_counter() - began <= LONGEST_WAIT * self._seconds

    def wait(self) -> None:
        """Return when nothing is being written any longer.

        Raises CheckpointError where the last one could not be written: it is tried once more now, and given up. Raises what
        its `then` raised.
        """
        if self._thread is not None:
            self._last_try.set()
            self._thread.join()
            self._last_try.clear()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Give back the memory of the copies. Returns and raises as `wait`."""
        self.wait()
        self._copies.clear()

    def _copy(self, tensors: Mapping[str, Tensor]) -> None:
        targets: list[Tensor] = []
        for name, tensor in tensors.items():
            buffer = self._copies.get(name)
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                pinned = tensor.device.type == "cuda"
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
                self._copies[name] = buffer
            targets.append(buffer)
        with torch.no_grad():
            torch._foreach_copy_(targets, [tensor.detach() for tensor in tensors.values()])

    def _write(
        self,
        path: Path,
        copied: dict[str, Tensor],
        borrowed: dict[str, Tensor],
        description: dict[str, Any],
        then: Callable[[int], None],
    ) -> None:
        try:
            self._write_in_the_end(path, copied, borrowed, description)
            then(path.stat().st_size)
        except BaseException as error:  # handed to the training thread
            self._error = error
        finally:
            self._given_back.set()

    def _write_in_the_end(
        self, path: Path, copied: dict[str, Tensor], borrowed: dict[str, Tensor], description: dict[str, Any]
    ) -> None:
        told, began = False, time.perf_counter()

        def give_back() -> None:
            self._seconds = time.perf_counter() - began
            self._given_back.set()

        while True:
            is_last = self._last_try.is_set()
            try:
                write_checkpoint(path, {**copied, **borrowed}, description, handed_over=give_back)
                return
            except CheckpointError as error:
                if not told and self._on_failure is not None:
                    self._on_failure(error)
                told = True
                # what was given back may be of a later step: it cannot be tried again
                if is_last or (borrowed and self._given_back.is_set()):
                    raise
                copied, borrowed = {**copied, **{name: one.clone() for name, one in borrowed.items()}}, {}
                give_back()
                self._last_try.wait(RETRY_SECONDS)


def _writable_in_place(tensors: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Those of `names` that a file can be made of without a copy: on the host, in one piece, each in memory of its own."""
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name in names:
        tensor = tensors[name]
        storage = tensor.untyped_storage()
        if tensor.device.type == "cpu" and tensor.is_contiguous() and storage.data_ptr() not in taken:
            taken.add(storage.data_ptr())
            found[name] = tensor.detach()
    return found


def write_checkpoint(
    path: Path,
    tensors: Mapping[str, Tensor],
    description: Mapping[str, Any],
    handed_over: Callable[[], None] = lambda: None,
) -> None:
    """Write the file durably. Raises CheckpointError, saying what is free, where the disk is full.

    handed_over: called once the system has the bytes of the tensors, which is before they are on the disk.
    """
    header = {"medfusion": json.dumps({"format": FORMAT, **description})}

    def write(temporary: Path) -> None:
        save_file(dict(tensors), temporary, metadata=header)
        handed_over()

    try:
        write_durably(path, write)
    except (OSError, SafetensorError) as error:
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        there = next(folder for folder in path.parents if folder.exists())
        free = shutil.disk_usage(there).free
        raise CheckpointError(
            f"The checkpoint {path} ({size / 1e6:.1f} MB) could not be written: {error}. {free / 1e6:.1f} MB are free "
            "there. Free some space or set MEDFUSION_HOME to a larger disk; the checkpoint before it is kept."
        ) from error


def read_checkpoint(
    path: Path, device: str | torch.device = "cpu", sections: Sequence[str] | None = None
) -> Checkpoint:
    """Read a file, or those sections of it alone. Raises CheckpointError where it is missing, cut short or not one of ours."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            description = json.loads((file.metadata() or {}).get("medfusion", "{}"))
            names = (name for name in file.keys() if sections is None or name.split("/")[0] in sections)  # noqa: SIM118 (not a dict)
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"The checkpoint {path} cannot be read: {error}.") from error
    if description.get("format") not in READABLE:
        raise CheckpointError(
            f"The checkpoint {path} has format {description.get('format')!r}; this version reads format {FORMAT}."
        )
    return Checkpoint(tensors, description, path)


def refuse_other_model(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError, with the difference, where the checkpoint's model has not the names and shapes of `tensors`."""
    there = checkpoint.section("model")
    shapes = [
        f"{name} ({_shape(there[name])} in it, {_shape(tensors[name])} here)"
        for name in tensors
        if name in there and there[name].shape != tensors[name].shape
    ]
    differences = {
        "it has not": [name for name in tensors if name not in there],
        "it has beside": [name for name in there if name not in tensors],
        "of another shape are": shapes,
    }
    said = [f"{what} {_some(names)}" for what, names in differences.items() if names]
    if said:
        raise CheckpointError(f"The checkpoint is of another model: {'; '.join(said)}.")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _some(names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as tensors by `<parameter number>/<slot>`."""
    state: dict[int, dict[str, Tensor | None]] = optimizer.state_dict()["state"]
    return {
        f"{index}/{slot}": value
        for index, slots in state.items()
        for slot, value in slots.items()
        if value is not None  # SGD keeps an empty slot where it has no momentum
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took out, into an optimiser over the same parameters."""
    whole = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, slot = key.split("/")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # fused kernels walk parameter and slot side by side in memory, so their layout must be one (channels_last)
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[slot] = value
    whole["state"] = state
    optimizer.load_state_dict(whole)


def without_tensors(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """`value`, of dicts, lists and what JSON knows, with each tensor replaced by a reference, and the tensors by reference.

    Raises TypeError, with its place, for anything else: nothing is pickled.
    """
    tensors: dict[str, Tensor] = {}

    def replaced(one: Any, where: str) -> Any:
        if isinstance(one, Tensor):
            tensors[str(len(tensors))] = one
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(one, Mapping):
            if not all(isinstance(key, str) for key in one):
                raise TypeError(f"{where} has keys that are not text; a checkpoint keeps text keys alone.")
            return {"dict": {key: replaced(item, f"{where}[{key!r}]") for key, item in one.items()}}
        if isinstance(one, list | tuple):
            return [replaced(item, f"{where}[{k}]") for k, item in enumerate(one)]
        if one is None or isinstance(one, str | int | float | bool):
            return one
        raise TypeError(
            f"{where} is a {type(one).__name__}; a checkpoint keeps numbers, text, lists, dicts and tensors."
        )

    return replaced(value, "the state"), tensors


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `without_tensors` was given; tuples have become lists."""
    if isinstance(value, list):
        return [with_tensors(item, tensors) for item in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: with_tensors(item, tensors) for key, item in value.get("dict", {}).items()}
    return value
