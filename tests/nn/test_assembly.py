"""Any encoder with any fusion and any head; absent modalities change nothing but their own part."""

import itertools

import pytest
import torch

from medfusion_jupyter.nn import (
    Architecture,
    FusionModel,
    Registry,
    UnknownPart,
    fusions,
    heads,
    image_encoders,
    table_encoders,
)


def build(image="light_cnn", table="mlp", fusion="gated", head="classification", classes=2):
    torch.manual_seed(0)
    return FusionModel(Architecture(image, table, fusion, head, classes, 1, 32, 5, (3, 4)))


def rows(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, 1, 32, 32, generator=g),
        torch.randn(n, 5, generator=g),
        torch.randint(0, 3, (n, 2), generator=g),
    )


PARTS = list(itertools.product([*image_encoders, None], [*table_encoders, None], fusions, heads))


@pytest.mark.parametrize(("image", "table", "fusion", "head"), [p for p in PARTS if p[0] or p[1]])
def test_every_combination_learns_a_batch_by_heart(image, table, fusion, head):
    model = build(image, table, fusion, head, classes=3)
    model.train()
    x, numeric, codes = rows(8)
    target = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    present = torch.ones(8, len(model.architecture.modalities), dtype=torch.bool)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = model.head.loss(model(x, numeric, codes, present), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("fusion", list(fusions))
def test_what_is_in_place_of_an_absent_image_makes_no_difference(fusion):
    model = build(fusion=fusion).eval()
    x, numeric, codes = rows(4)
    present = torch.tensor([[True, True], [False, True], [True, False], [False, True]])
    other = x.clone()
    other[[1, 3]] = 1e6
    assert torch.equal(model(x, numeric, codes, present), model(other, numeric, codes, present))
    assert not torch.equal(model(x, numeric, codes, present)[1], model(x, numeric, codes, present)[0])


def test_absent_images_do_not_move_the_batch_statistics():
    x, numeric, codes = rows(6)
    there = torch.tensor([True, False, True, True, False, True])
    present = torch.stack([there, torch.ones(6, dtype=torch.bool)], dim=1)
    one, other = build().train(), build().train()
    one(x, numeric, codes, present)
    other(x[there], numeric[there], codes[there], present[there])
    for (name, a), (_, b) in zip(one.named_buffers(), other.named_buffers(), strict=True):
        assert torch.allclose(a, b), name


@pytest.mark.parametrize("image", list(image_encoders))
@pytest.mark.parametrize("there", [0, 1, 2])
def test_a_batch_with_few_or_no_images_trains(image, there):
    model = build(image).train()
    x, numeric, codes = rows(4)
    present = torch.ones(4, 2, dtype=torch.bool)
    present[there:, 0] = False
    out = model(x, numeric, codes, present)
    model.head.loss(out, torch.tensor([0, 1, 0, 1])).backward()
    assert torch.isfinite(out).all()


def test_the_shortcut_for_complete_batches_gives_the_same_numbers():
    model = build().eval()
    x, numeric, codes = rows(4)
    present = torch.ones(4, 2, dtype=torch.bool)
    assert torch.allclose(
        model(x, numeric, codes, present), model(x, numeric, codes, present, all_present=True), atol=1e-6
    )


def test_absent_tokens_are_learned():
    model = build().train()
    x, numeric, codes = rows(4)
    present = torch.tensor([[False, True], [True, False], [True, True], [True, True]])
    model.head.loss(model(x, numeric, codes, present), torch.tensor([0, 1, 0, 1])).backward()
    assert model.absent["image"].grad.abs().sum() > 0
    assert model.absent["table"].grad.abs().sum() > 0


def test_probabilities_sum_to_one():
    model = build(classes=4).eval()
    p = model.head.predict(model(*rows(5), torch.ones(5, 2, dtype=torch.bool)))
    assert torch.allclose(p.sum(1), torch.ones(5))


@pytest.mark.parametrize("image", list(image_encoders))
def test_the_vector_is_the_mean_of_the_feature_map(image):
    encoder = build(image).eval().image_encoder
    x, _, _ = rows(2)
    assert torch.allclose(encoder(x), encoder.feature_map(x).mean((2, 3)), atol=1e-6)
    assert encoder(x).shape == (2, encoder.out_features)


def test_an_unknown_part_offers_the_closest_name():
    with pytest.raises(UnknownPart, match=r"no fusion 'gatd'\. Did you mean 'gated'\?"):
        fusions("gatd")


def test_a_name_cannot_be_taken_twice():
    parts = Registry("part")
    parts.register("one")(dict)
    with pytest.raises(ValueError, match="'one' is registered already"):
        parts.register("one")(dict)


def test_images_too_small_for_the_encoder_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="at least 32 pixels a side, image_size is 16"):
        FusionModel(Architecture("resnet18", None, "concat", "classification", 2, 1, 16))


def test_a_model_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one modality"):
        Architecture(None, None, "concat", "classification", 2)


def test_an_architecture_survives_json():
    architecture = build().architecture
    assert Architecture.from_json(architecture.to_json()) == architecture
