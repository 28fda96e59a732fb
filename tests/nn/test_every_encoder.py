"""Every image encoder with every fusion and every head. One light encoder goes with all in test_assembly."""

import itertools

import pytest
import torch
from light_models import TARGETS, all_finite, build, everything, learn_by_heart, rows

from medfusion_jupyter.nn import Encoded, fusion_model, fusions, heads, image_encoders
from medfusion_jupyter.nn.image_encoders import build_image_encoder

PAIRS = list(itertools.product(fusions, heads))
SMALL = ("light_cnn", "light_cnn_3d", "resnet18_3x3", "mobilenet_v3_small")
LARGE = 150e6
"""Networks of more weights learn at a tenth of the rate; the largest, of 640 million, takes 10 GB and two minutes."""


def model_of(name, fusion, head):
    classes, target = TARGETS[head]
    model = build(name, "mlp", fusion, head, classes, size=image_encoders(name).smallest).train()
    model.head.fit(target)
    return model, target


def rows_for(encoder):
    return rows(8, size=encoder.smallest, dimensions=encoder.dimensions)


@pytest.mark.parametrize(
    ("name", "pairs"),
    # every tenth pair is the diagonal: each fusion and each head once
    [
        *(pytest.param(name, PAIRS[::10], id=f"{name}-some") for name in SMALL),
        *(pytest.param(name, PAIRS, id=f"{name}-all", marks=pytest.mark.heavy) for name in image_encoders),
    ],
)
def test_every_encoder_goes_with_every_fusion_and_head(name, pairs, monkeypatch):
    """The encoder is built and passed through once: what it gives does not depend on what comes after it."""
    torch.manual_seed(0)
    encoder = build_image_encoder(name, channels=1, size=image_encoders(name).smallest).train()
    monkeypatch.setattr(fusion_model, "build_image_encoder", lambda *args, **keywords: encoder)
    images, *table = rows_for(encoder)
    vector, tokens, _ = encoder.encode(images)
    fixed = Encoded(vector.detach(), tokens.detach())
    given = Encoded(fixed.vector.clone().requires_grad_(), fixed.tokens.clone().requires_grad_())
    for fusion, head in pairs:
        model, target = model_of(name, fusion, head)
        loss = model.head.loss(model(given, *table, everything(8, model)), target)
        loss.backward()
        assert loss.isfinite(), (fusion, head)
        assert all_finite(p.grad for p in model.parameters()), (fusion, head)
        learn_by_heart(model, (fixed, *table), target, lr=3e-4)
    torch.autograd.backward([vector, tokens], [given.vector.grad, given.tokens.grad])
    assert all_finite(p.grad for p in encoder.parameters())
    assert any(p.grad.any() for p in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "fusion", "head"),
    [
        pytest.param(name, *pair, marks=[] if name in SMALL else pytest.mark.heavy)
        for name, pair in zip(image_encoders, itertools.cycle(PAIRS[::4]), strict=False)
    ],
)
def test_every_encoder_learns_eight_rows_by_heart(name, fusion, head):
    model, target = model_of(name, fusion, head)
    inputs = rows_for(model.image_encoder)
    large = sum(p.numel() for p in model.parameters()) > LARGE
    learn_by_heart(model, inputs, target, lr=1e-4 if large else 1e-3)
