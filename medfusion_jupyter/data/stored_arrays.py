"""Arrays that were expensive to make, on the disk: each with a card, made after it, that says whether it is whole."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from medfusion_jupyter.store.durable_files import write_durably, write_json


def read_array(array: Path, card: Path, in_memory: int) -> tuple[NDArray[Any], dict[str, Any]] | None:
    """The array and what its card says; None where they are not there whole.

    in_memory: so many bytes at most are read now, and compared with the checksum; more is mapped, and only its length compared.
    """
    try:
        about = json.loads(card.read_text(encoding="utf-8"))
        size = array.stat().st_size
        if size != about["bytes"]:
            return None
        found: NDArray[Any] = np.load(array, mmap_mode=None if size <= in_memory else "r")
        if not isinstance(found, np.memmap) and zlib.crc32(found.data) != about["crc32"]:
            return None
        return found, about
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_array(
    array: Path, card: Path, shape: tuple[int, ...], dtype: DTypeLike, parts: Iterable[NDArray[Any]], **about: Any
) -> None:
    """Put array and card in place, the card last. parts: the content in its order; about: what the card says besides.

    One part after another: memory stays small, and a full disk is an OSError here, not a crash as in a memory map.
    """
    checksum = 0

    def write(temporary: Path) -> None:
        nonlocal checksum
        with open(temporary, "wb") as file:
            npy.write_array_header_1_0(
                file, {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
            )
            for part in parts:
                content = np.ascontiguousarray(part, dtype=dtype).data
                checksum = zlib.crc32(content, checksum)
                file.write(content)

    write_durably(array, write)
    write_json(card, {"bytes": array.stat().st_size, "crc32": checksum, **about})


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time, so that two do not make the same; where files cannot be locked, each does it for itself."""
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()
