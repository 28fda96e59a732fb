"""The generators of random numbers of this process, as tensors that a checkpoint keeps and gives back to the bit."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators, those of every GPU among them."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def generator_tensors() -> dict[str, Tensor]:
    """The state of Python's, NumPy's and torch's generators, and of the current GPU's where one is in use."""
    _, words, gauss = random.getstate()
    mersenne: dict[str, Any] = np.random.get_state(legacy=False)
    position, has_gauss = mersenne["state"]["pos"], mersenne["has_gauss"]
    tensors = {
        "python": torch.tensor(words, dtype=torch.int64),
        # the second of a pair of normal numbers that waits to be given out; infinite where none does
        "python_gauss": torch.tensor(math.inf if gauss is None else gauss, dtype=torch.float64),
        "numpy": torch.from_numpy(np.append(mersenne["state"]["key"].astype(np.int64), [position, has_gauss])),
        "numpy_gauss": torch.tensor(mersenne["gauss"], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if _gpu_in_use():  # to ask a GPU that nobody uses would take memory of it
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors


def load_generator_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Put back what `generator_tensors` took; what is not among `tensors` is left as it is."""
    if "python" in tensors:
        gauss = float(tensors["python_gauss"])
        random.setstate((3, tuple(tensors["python"].tolist()), None if math.isinf(gauss) else gauss))
    if "numpy" in tensors:
        *keys, position, has_gauss = tensors["numpy"].tolist()
        cached = float(tensors["numpy_gauss"])
        np.random.set_state(("MT19937", np.asarray(keys, dtype=np.uint32), position, has_gauss, cached))
    if "torch" in tensors:
        torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and _gpu_in_use():
        torch.cuda.set_rng_state(tensors["cuda"])


def generators_as_they_are() -> Callable[[], None]:
    """What puts the generators back to where they are now; in a few microseconds, within this process."""
    python, of_numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    of_gpu = torch.cuda.get_rng_state() if _gpu_in_use() else None

    def put_back() -> None:
        random.setstate(python)
        np.random.set_state(of_numpy)
        torch.set_rng_state(of_torch)
        if of_gpu is not None:
            torch.cuda.set_rng_state(of_gpu)
        elif _gpu_in_use():  # meanwhile: as torch.manual_seed would have left it
            torch.cuda.manual_seed_all(torch.initial_seed())

    return put_back


@contextmanager
def generators_kept() -> Iterator[None]:
    """Whatever is drawn inside, the generators are afterwards as they were."""
    put_back = generators_as_they_are()
    try:
        yield
    finally:
        put_back()


def _gpu_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
