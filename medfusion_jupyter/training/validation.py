"""What a model predicts for a part of a cohort, and the metrics an epoch reports of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.metrics import measure_each
from medfusion_jupyter.nn import FusionModel, Head, MultiTask
from medfusion_jupyter.training.fixed_features import inputs_of
from medfusion_jupyter.training.prediction import judged_by, predictions


@torch.inference_mode()
def outputs_of(
    model: FusionModel,
    source: BatchSource,
    autocast: AbstractContextManager[Any],
    whole: Callable[[Tensor, int], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Raw outputs `(N, K)` and targets of every row of `source`, in its order; targets are 0 where unknown.

    whole: where several processes share each batch, makes the outputs of all its rows of those of this one's.
    """
    # a part that is frozen is in evaluation mode while the rest learns
    learning = [module for module in model.modules() if module.training]
    model.eval()
    outputs, targets = [], []
    try:
        for batch in source.epoch(None, None, None):
            with autocast:
                output = model(*inputs_of(batch))
            outputs.append((output if whole is None else whole(output, len(batch))).float())
            targets.append(batch.target if batch.target is not None else torch.zeros(len(batch), dtype=torch.long))
    finally:
        for module in learning:
            module.training = True
    return torch.cat(outputs), torch.cat(targets)


def validate(model: FusionModel, source: BatchSource, autocast: AbstractContextManager[Any]) -> dict[str, float]:
    """Loss and the metrics of the head's tasks on `source`, each named `val/…`, with `_low` and `_high` of its 95 % interval.

    The intervals know which rows are of one patient.
    """
    return metrics_of(model.head, *outputs_of(model, source, autocast), source.patients)


@torch.inference_mode()
def metrics_of(head: Head, outputs: Tensor, target: Tensor, patients: NDArray[np.int64] | None) -> dict[str, float]:
    """What `validate` gives, of outputs `(N, K)` and targets `(N,)` or `(N, W)`. patients: of each row."""
    predicted = predictions(head, outputs).cpu().numpy()
    found = measure_each(judged_by(head), target.cpu().numpy(), predicted, patients)
    metrics = {"val/loss": float(head.loss(outputs, target))}
    if isinstance(head, MultiTask):
        metrics |= {f"val/{name}_loss": float(loss) for name, loss in head.losses(outputs, target).items()}
    for name, one in found.items():
        metrics |= {f"val/{name}": one.value, f"val/{name}_low": one.low, f"val/{name}_high": one.high}
    return metrics
