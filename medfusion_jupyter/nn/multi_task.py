"""Several heads on one fused vector."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medfusion_jupyter.nn.heads import Head, heads


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

    def __init__(self, in_features: int, tasks: Sequence[Task]) -> None:
        super().__init__()
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"Two tasks have one name: {', '.join(names)}. Give each its own.")
        self.tasks = tuple(tasks)
        self.heads = nn.ModuleDict(
            {task.name: heads(task.head)(in_features=in_features, num_classes=task.num_classes) for task in tasks}
        )
        self.target_width = sum(head.target_width for head in self._heads())
        self._outputs: list[int] = [
            next(layer.out_features for layer in head.modules() if isinstance(layer, nn.Linear))
            for head in self._heads()
        ]

    def _heads(self) -> list[Head]:
        return [head for head in self.heads.values() if isinstance(head, Head)]

    def fit(self, target: Tensor) -> None:
        for head, columns in zip(self._heads(), self._targets(target), strict=True):
            head.fit(_without_unknown(head, columns, columns)[1])

    def forward(self, fused: Tensor) -> Tensor:
        return torch.cat([head(fused) for head in self._heads()], dim=1)

    def of_tasks(self, outputs: Tensor) -> dict[str, Tensor]:
        """The outputs of each task, by its name."""
        return dict(zip(self.heads, torch.split(outputs, self._outputs, dim=1), strict=True))

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        total = outputs.new_zeros((), dtype=torch.float32)
        parts = zip(self.tasks, self._heads(), self.of_tasks(outputs).values(), self._targets(target), strict=True)
        for task, head, output, columns in parts:
            output, wanted = _without_unknown(head, output, columns)
            total = total + task.weight * (head.loss(output, wanted) if len(wanted) else output.sum())
        return total

    def predict(self, outputs: Tensor) -> Tensor:
        parts = zip(self._heads(), self.of_tasks(outputs).values(), strict=True)
        return torch.cat([head.predict(output) for head, output in parts], dim=1)

    def _targets(self, target: Tensor) -> tuple[Tensor, ...]:
        return torch.split(target, [head.target_width for head in self._heads()], dim=1)


def _without_unknown(head: Head, outputs: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """The rows whose target is known, that in the shape and type which `head` takes."""
    unknown = columns.isnan()
    known = ~(unknown.all(dim=1) if head.skips_unknown else unknown.any(dim=1))
    wanted = columns[known].to(head.target_dtype)
    return outputs[known], wanted[:, 0] if head.target_width == 1 else wanted
