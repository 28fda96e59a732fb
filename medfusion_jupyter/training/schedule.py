"""The learning rate over the steps of a run."""

from __future__ import annotations

import math


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """The share of the peak rate at `step` (from 0): a line from near 0 to 1 over the warm-up, then half a cosine to 0.

    Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
