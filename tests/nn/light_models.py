"""Small models, rows for them, a target for each head, and learning by heart."""

import pytest
import torch

from medfusion_jupyter.nn import Architecture, FusionModel, heads

LIGHT_TABLE = ("ft_transformer", "mlp", "residual_mlp")

GRADES = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
NUMBERS = torch.tensor([[3.0], [-1.0], [0.5], [2.0], [-2.0], [1.0], [0.0], [-0.5]])
SURVIVAL = torch.tensor([[0.5, 1], [2.5, 1], [1.5, 1], [0.2, 1], [2.8, 1], [1.2, 0], [2.2, 1], [0.8, 1]])

TARGETS = {
    "classification": (3, GRADES),
    "focal": (3, GRADES),
    "ordinal": (3, GRADES),
    "multilabel": (2, torch.stack([GRADES > 0, GRADES == 1], dim=1).float()),
    "regression": (1, NUMBERS[:, 0]),
    "huber": (1, NUMBERS[:, 0]),
    "gaussian": (1, NUMBERS[:, 0]),
    "cox": (1, SURVIVAL),
    "hazard": (3, SURVIVAL),
}
"""Of each head: num_classes, and a target of eight rows."""


def build(image="light_cnn", table="mlp", fusion="gated", head="classification", classes=2, size=16, **more):
    torch.manual_seed(0)
    return FusionModel(Architecture(image, table, fusion, head, classes, 1, size, 5, (3, 4), **more))


def rows(n, seed=0, size=16, dimensions=2):
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, 1, *([size] * dimensions), generator=g),
        torch.randn(n, 5, generator=g),
        torch.randint(0, 3, (n, 2), generator=g),
    )


def everything(n, model):
    return torch.ones(n, len(model.architecture.modalities), dtype=torch.bool)


def all_finite(tensors):
    return all(t is None or bool(torch.isfinite(t).all()) for t in tensors)


def learn_by_heart(model, inputs, target, lr):
    """Train on eight rows until hardly any loss is left; fail where it stays."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    first = None
    for _ in range(150):
        loss = model.head.loss(model(*inputs, everything(8, model)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = loss.item() if first is None else first
        # a density has no floor at 0: there, a unit less is e times the likelihood
        if loss.item() < (first - 1 if isinstance(model.head, heads("gaussian")) else 0.2 * first):
            return
    pytest.fail(f"the loss went from {first:.3f} to {loss.item():.3f} only")
