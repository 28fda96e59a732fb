"""The processes that train together, as one of them sees the others."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed

from medfusion_jupyter.data.batch_rows import rows_of_share

DEVICE_PATIENCE = dt.timedelta(hours=1)
"""How long GPUs wait for one another: for the slowest validation, not for a pause, in which they have nothing under way."""
PATIENCE = dt.timedelta(days=365)
"""How long processes wait for the first one's word: a pause may last. One that dies is noticed at once, by the agent."""


class Ranks:
    """rank: the number of this process, from 0; size: how many there are; device: the one that it computes on."""

    def __init__(self, device: str, words: Any = None) -> None:
        """words: the process group of what is agreed, where it is not the default one."""
        self.device = device
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self._words = words

    @classmethod
    @contextmanager
    def joined(cls, kind: str) -> Iterator[Ranks]:
        """Join the others that torchrun started, on `cpu` or `cuda`; it says by the environment who they are."""
        if kind == "cpu":
            distributed.init_process_group("gloo", timeout=PATIENCE)
            ranks = cls("cpu")
        else:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
            distributed.init_process_group("nccl", timeout=DEVICE_PATIENCE, device_id=device)
            # words go between the processors: a word read from a GPU would make it wait
            ranks = cls(str(device), distributed.new_group(backend="gloo", timeout=PATIENCE))
        yield ranks
        # not where one has failed: the others may never come
        distributed.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this is the first: the one that speaks with the store, and decides."""
        return self.rank == 0

    def agreed(self, word: Any = None) -> Any:
        """What the first rank says, to all of them; what the others say is not heard. JSON; None costs the least."""
        text = b"" if word is None or not self.leads else json.dumps(word).encode()
        length = torch.tensor([len(text)])
        distributed.broadcast(length, 0, group=self._words)
        if not length:
            return None
        letters = (
            torch.tensor(list(text), dtype=torch.uint8) if self.leads else torch.empty(int(length), dtype=torch.uint8)
        )
        distributed.broadcast(letters, 0, group=self._words)
        return json.loads(bytes(letters.tolist()))

    def whole(self, outputs: Tensor, count: int) -> Tensor:
        """`(b, K) -> (count, K)`: the outputs of a whole batch from those of each rank's rows.

        Only this rank's rows hand gradients on, `size` times as large: the mean over the ranks, which DistributedDataParallel
        makes of each weight's gradients, is then the gradient of a loss of the whole batch.
        """
        own = rows_of_share(count, self.rank, self.size)
        if own == slice(0, count):  # every rank has the whole batch
            return outputs
        whole = outputs.new_zeros(count, *outputs.shape[1:])
        whole[own] = outputs.detach()
        distributed.all_reduce(whole)
        if not outputs.requires_grad:
            return whole
        outputs.register_hook(lambda gradient: gradient * self.size)  # type: ignore[no-untyped-call]
        return torch.cat([whole[: own.start], outputs, whole[own.stop :]])

    def take_buffers(self, module: torch.nn.Module) -> None:
        """Give `module` the first rank's statistics of batch norms: each rank's own are of its share of the rows."""
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)
