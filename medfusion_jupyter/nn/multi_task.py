"""Several heads on one fused vector."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.heads import Head, heads

Losses = Mapping[str, Callable[[Tensor, Tensor], Tensor]]


@dataclasses.dataclass(frozen=True)
class Task:
    """One of the tasks of a model: its name, the head that is registered for it, that head's `num_classes`, and what its loss
    counts."""

    name: str
    head: str
    num_classes: int
    weight: float = 1.0


class MultiTask(Head):
    """A head for each task: `(B, D) -> (B, K_1 + K_2 + …)`, the outputs of the tasks side by side.

    Targets `(B, W_1 + W_2 + …)` float are the targets of the tasks side by side, each as wide as its head's `target_width`. A
    row whose target of a task is NaN does not count for that task. The loss is the weighted sum of the tasks'; predictions
    are those of the tasks side by side.

    Caruana, "Multitask learning", Machine Learning 1997.
    """

    task = "multi_task"

    def __init__(self, in_features: int, tasks: Sequence[Task]) -> None:
        super().__init__()
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"Two tasks have one name: {', '.join(names)}. Give each its own.")
        self.weights = {task.name: task.weight for task in tasks}
        # a task may be named as an attribute of a module is
        self.heads = nn.ModuleDict(
            {f"task_{one.name}": heads(one.head)(in_features=in_features, num_classes=one.num_classes) for one in tasks}
        )
        self.target_width = sum(head.target_width for head in self.parts.values())

    @property
    def parts(self) -> dict[str, Head]:
        return dict(zip(self.weights, cast(Iterable[Head], self.heads.values()), strict=True))

    @property
    def output_width(self) -> int:
        return sum(head.output_width for head in self.parts.values())

    def fit(self, target: Tensor) -> None:
        """Let each head learn of the rows that know its target. Raises ValueError, naming the task, where none does."""
        for (name, head), columns in zip(self.parts.items(), self._targets(target), strict=True):
            wanted = _without_unknown(head, columns, columns)[1]
            if not len(wanted):
                raise ValueError(f"No row of the training part knows the target {name!r}: it cannot be learned.")
            head.fit(wanted)

    @property
    def fits_outputs(self) -> bool:
        return any(head.fits_outputs for head in self.parts.values())

    def fit_outputs(self, outputs: Tensor, target: Tensor) -> None:
        parts = zip(self.parts.values(), self.of_parts(outputs).values(), self._targets(target), strict=True)
        for head, output, columns in parts:
            head.fit_outputs(*_without_unknown(head, output, columns))

    def forward(self, fused: Tensor) -> Tensor:
        return torch.cat([head(fused) for head in self.parts.values()], dim=1)

    def of_parts(self, outputs: Tensor) -> dict[str, Tensor]:
        widths = [head.output_width for head in self.parts.values()]
        return dict(zip(self.weights, torch.split(outputs, widths, dim=1), strict=True))

    def loss(self, outputs: Tensor, target: Tensor, of_heads: Losses | None = None) -> Tensor:
        losses = self.losses(outputs, target, of_heads)
        return torch.stack([weight * losses[name] for name, weight in self.weights.items()]).sum()

    def losses(self, outputs: Tensor, target: Tensor, of_heads: Losses | None = None) -> dict[str, Tensor]:
        """The mean loss of each task, before its weight; 0, with gradients of 0, where no row knows its target.

        of_heads: by the name of the task what makes a loss of the outputs and targets of its head, where that is not the
        head's own, as when classes weigh.
        """
        of_heads = of_heads or {name: head.loss for name, head in self.parts.items()}
        found = {}
        parts = zip(self.parts.items(), self.of_parts(outputs).values(), self._targets(target), strict=True)
        for (name, head), output, columns in parts:
            known, wanted = _without_unknown(head, output, columns)
            found[name] = of_heads[name](known, wanted) if len(wanted) else known.float().sum()
        return found

    def predict(self, outputs: Tensor) -> Tensor:
        parts = zip(self.parts.values(), self.of_parts(outputs).values(), strict=True)
        return torch.cat([head.predict(output) for head, output in parts], dim=1)

    def _targets(self, target: Tensor) -> tuple[Tensor, ...]:
        return torch.split(target, [head.target_width for head in self.parts.values()], dim=1)


def _without_unknown(head: Head, outputs: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """The rows whose target is known, that in the shape and type which `head` takes."""
    unknown = columns.isnan()
    known = ~(unknown.all(dim=1) if head.skips_unknown else unknown.any(dim=1))
    wanted = columns[known].to(head.target_dtype)
    return outputs[known], wanted[:, 0] if head.target_width == 1 else wanted
