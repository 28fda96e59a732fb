"""Every image encoder with every fusion and every head. One light encoder goes with all in test_assembly."""

import itertools

import pytest
import torch
from light_models import TARGETS, all_finite, build, everything, rows

from medfusion_jupyter.nn import fusions, heads, image_encoders
from medfusion_jupyter.nn.torchvision_encoders import FAMILIES

PAIRS = list(itertools.product(fusions, heads))
SMALL = ("light_cnn", "light_cnn_3d", "resnet18_3x3", "mobilenet_v3_small")
OF_EACH_FAMILY = [
    "light_cnn",
    "light_cnn_3d",
    *(name for family in FAMILIES for name in family.names[:1] if name != "vit_b_16"),
]
LARGE = 150e6
"""Networks of more weights do not learn on a CPU in a time worth waiting for; they are passed through once."""


def of(name, fusion, head):
    classes, target = TARGETS[head]
    builder = image_encoders(name)
    model = build(name, "mlp", fusion, head, classes, size=builder.smallest).train()
    model.head.fit(target)
    return model, rows(8, size=builder.smallest, dimensions=model.image_encoder.dimensions), target


def loss_of(model, inputs, target):
    return model.head.loss(model(*inputs, everything(8, model)), target)


@pytest.mark.parametrize(
    "name", [name if name in SMALL else pytest.param(name, marks=pytest.mark.heavy) for name in OF_EACH_FAMILY]
)
def test_one_of_each_family_passes_with_every_fusion_and_head(name):
    # every tenth pair is the diagonal: each fusion and each head once
    for fusion, head in PAIRS[::10] if name in SMALL else PAIRS:
        model, inputs, target = of(name, fusion, head)
        loss = loss_of(model, inputs, target)
        loss.backward()
        assert loss.isfinite(), (fusion, head)
        assert all_finite(p.grad for p in model.parameters()), (fusion, head)


@pytest.mark.parametrize(
    ("name", "fusion", "head"),
    [
        pytest.param(name, *pair, marks=[] if name in SMALL else pytest.mark.heavy)
        for name, pair in zip(image_encoders, itertools.cycle(PAIRS[::4]), strict=False)
    ],
)
def test_every_encoder_learns_eight_rows_by_heart(name, fusion, head):
    model, inputs, target = of(name, fusion, head)
    first = loss_of(model, inputs, target)
    if sum(p.numel() for p in model.parameters()) > LARGE:
        first.backward()
        assert all_finite(p.grad for p in model.parameters())
        return
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    first = first.item()
    for _ in range(150):
        loss = loss_of(model, inputs, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # a density has no floor at 0: there, a unit less is e times the likelihood
        if loss.item() < (first - 1 if head == "gaussian" else 0.2 * first):
            return
    pytest.fail(f"the loss went from {first:.3f} to {loss.item():.3f} only")
