"""Any encoder with any fusion and any head; absent modalities change nothing but their own part."""

import dataclasses
import itertools
import json

import pytest
import torch
from light_models import GRADES, LIGHT_TABLE, TARGETS, all_finite, build, everything, learn_by_heart, rows

from medfusion_jupyter.nn import (
    Architecture,
    Encoded,
    FusionModel,
    Registry,
    Task,
    UnknownPart,
    fusions,
    heads,
    image_encoders,
)

ENCODERS = [
    (image, table) for image, table in itertools.product(["light_cnn", None], [*LIGHT_TABLE, None]) if image or table
]
COMBINATIONS = list(itertools.product(ENCODERS, fusions, heads))
EACH_FUSION = pytest.mark.parametrize("fusion", list(fusions))


def test_every_head_has_a_target_here():
    assert set(TARGETS) == set(heads)


def test_every_combination_passes_forward_and_backward():
    for (image, table), fusion, head in COMBINATIONS:
        classes, target = TARGETS[head]
        model = build(image, table, fusion, head, classes).train()
        model.head.fit(target)
        present = torch.rand(8, len(model.architecture.modalities), generator=torch.Generator().manual_seed(0)) < 0.6
        loss = model.head.loss(model(*rows(8), present), target)
        loss.backward()
        assert loss.isfinite(), (image, table, fusion, head)
        assert all_finite(p.grad for p in model.parameters()), (image, table, fusion, head)


@pytest.mark.parametrize(("encoders", "fusion", "head"), COMBINATIONS)
def test_eight_rows_are_learned_by_heart(encoders, fusion, head):
    classes, target = TARGETS[head]
    model = build(*encoders, fusion, head, classes).train()
    model.head.fit(target)
    learn_by_heart(model, rows(8), target, lr=3e-3)


@EACH_FUSION
def test_what_is_in_place_of_an_absent_modality_makes_no_difference(fusion):
    model = build(fusion=fusion).eval()
    x, numeric, codes = rows(4)
    present = torch.tensor([[True, True], [False, True], [True, False], [False, True]])
    other, numbers, categories = x.clone(), numeric.clone(), codes.clone()
    other[[1, 3]] = 1e6
    numbers[2], categories[2] = 1e6, 0
    outputs = model(x, numeric, codes, present)
    assert torch.allclose(outputs, model(other, numbers, categories, present), atol=1e-6)
    assert not torch.allclose(outputs[1], outputs[0])


@EACH_FUSION
@pytest.mark.parametrize("absent", [[0], [1], [0, 1]])
def test_a_modality_that_nobody_has_leaves_loss_and_gradients_finite(fusion, absent):
    model = build(fusion=fusion, table="ft_transformer", modality_dropout=0.5).train()
    present = torch.ones(4, 2, dtype=torch.bool)
    present[:, absent] = False
    loss = model.head.loss(model(*rows(4), present), torch.tensor([0, 1, 0, 1]))
    loss.backward()
    assert loss.isfinite()
    assert all_finite(p.grad for p in model.parameters())


@EACH_FUSION
def test_each_modality_of_a_row_has_a_say(fusion):
    model = build(fusion=fusion).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    x, numeric, codes = rows(4)
    present = everything(4, model)
    outputs = model(x, numeric, codes, present)
    assert not torch.allclose(outputs, model(x.flip(0), numeric, codes, present), atol=1e-5)
    assert not torch.allclose(outputs, model(x, numeric.flip(0), codes, present), atol=1e-5)
    assert not torch.allclose(outputs, model(x, numeric, 2 - codes, present), atol=1e-5)


@EACH_FUSION
def test_a_fusion_takes_more_than_two_modalities(fusion):
    torch.manual_seed(0)
    widths = [12, 20, 8, 16]
    module = fusions(fusion)(widths=widths)
    encoded = [Encoded(torch.randn(6, w), torch.randn(6, k + 1, w)) for k, w in enumerate(widths)]
    present = torch.rand(6, 4) < 0.6
    fused = module(encoded, present)
    fused.square().sum().backward()
    assert fused.shape == (6, module.out_features)
    assert all_finite([fused, *(p.grad for p in module.parameters())])


def test_absent_images_do_not_move_the_batch_statistics():
    x, numeric, codes = rows(6)
    there = torch.tensor([True, False, True, True, False, True])
    present = torch.stack([there, torch.ones(6, dtype=torch.bool)], dim=1)
    one, other = build().train(), build().train()
    one(x, numeric, codes, present)
    other(x[there], numeric[there], codes[there], present[there])
    for (name, a), (_, b) in zip(one.named_buffers(), other.named_buffers(), strict=True):
        assert torch.allclose(a, b), name


@pytest.mark.parametrize("fusion", ["gated", "cross_attention"])
@pytest.mark.parametrize("there", [0, 1, 2])
def test_a_batch_with_few_or_no_images_trains(fusion, there):
    model = build(fusion=fusion).train()
    present = torch.ones(4, 2, dtype=torch.bool)
    present[there:, 0] = False
    out = model(*rows(4), present)
    model.head.loss(out, torch.tensor([0, 1, 0, 1])).backward()
    assert torch.isfinite(out).all()


@EACH_FUSION
def test_the_shortcut_for_complete_batches_gives_the_same_numbers(fusion):
    model = build(fusion=fusion).eval()
    present = everything(4, model)
    plain, short = model(*rows(4), present), model(*rows(4), present, all_present=True)
    assert torch.allclose(plain, short, atol=1e-5)


@pytest.mark.parametrize("fusion", [name for name in fusions if name not in ("late", "low_rank", "tensor")])
def test_absent_tokens_are_learned(fusion):
    """By the fusions that do not leave an absent modality out altogether."""
    model = build(fusion=fusion).train()
    present = torch.tensor([[False, True], [True, False], [True, True], [True, True]])
    model.head.loss(model(*rows(4), present), torch.tensor([0, 1, 0, 1])).backward()
    assert model.absent["image"].grad.abs().sum() > 0
    assert model.absent["table"].grad.abs().sum() > 0


def test_modality_dropout_takes_one_modality_of_some_rows_in_training_alone():
    model = build(modality_dropout=0.4)
    seen = []
    model.fusion.register_forward_hook(lambda module, given, out: seen.append(given[1]))
    present = torch.ones(2000, 2, dtype=torch.bool)
    present[:500, 0] = False
    numeric, codes, image = torch.zeros(2000, 5), torch.zeros(2000, 2, dtype=torch.long), torch.zeros(2000, 1, 8, 8)
    model.train()
    model(image, numeric, codes, present)
    model.eval()
    model(image, numeric, codes, present)
    in_training, in_use = seen
    assert torch.equal(in_use, present)
    assert torch.equal(in_training[:500], present[:500])  # the last modality of a row stays
    assert in_training.any(dim=1).all()
    lost = (~in_training[500:]).float().mean(dim=0)
    assert torch.allclose(lost, torch.tensor([0.2, 0.2]), atol=0.05)


def test_a_modality_that_was_dropped_has_no_effect():
    model = build(modality_dropout=0.999).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    x, numeric, codes = rows(64)
    outputs = model(x, numeric, codes, everything(64, model), True)
    # every row has lost one of the two; those that have lost the image answer as if it had not been there
    without_image = model.eval()(x, numeric, codes, torch.tensor([[False, True]]).expand(64, 2))
    alike = (outputs - without_image).abs().amax(dim=1) < 1e-5
    assert 16 < alike.sum() < 48


def test_a_model_of_two_modalities_predicts_with_either():
    torch.manual_seed(0)
    model = build(fusion="gated", classes=2, modality_dropout=0.3, size=8).train()
    n = 256
    y = torch.arange(n) % 2
    x = torch.randn(n, 1, 8, 8) + (2 * y - 1).view(-1, 1, 1, 1)
    numeric = torch.randn(n, 5) + (2 * y - 1).view(-1, 1)
    codes = torch.zeros(n, 2, dtype=torch.long)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        loss = model.head.loss(model(x, numeric, codes, everything(n, model), True), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    for present in ([True, True], [True, False], [False, True]):
        outputs = model(x, numeric, codes, torch.tensor([present]).expand(n, 2))
        assert (outputs.argmax(dim=1) == y).float().mean() > 0.95, present


def test_an_unknown_part_offers_the_closest_name():
    with pytest.raises(UnknownPart, match=r"no fusion 'gatd'\. Did you mean 'gated'\?"):
        fusions("gatd")


def test_of_a_long_list_the_closest_are_named_and_where_all_are():
    with pytest.raises(
        UnknownPart, match=r"mean 'resnet18'\?.*such as resnet18, .*`list\(medfusion_jupyter\.nn\.image_encoders\)`"
    ):
        image_encoders("resnet19")
    with pytest.raises(UnknownPart, match=r"such as light_cnn, "):
        image_encoders("qqqq")


def test_a_name_cannot_be_taken_twice():
    parts = Registry("part")
    parts.register("one")(dict)
    with pytest.raises(ValueError, match="'one' is registered already"):
        parts.register("one")(dict)


def test_images_of_the_wrong_number_of_dimensions_are_refused():
    with pytest.raises(ValueError, match="image_encoder='light_cnn' takes images of 4 dimensions"):
        build()(torch.zeros(2, 1, 8, 8, 8), *rows(2)[1:], torch.ones(2, 2, dtype=torch.bool))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"image_encoder": None, "table_encoder": None}, "at least one modality"),
        ({"modality_dropout": 1.0}, "modality_dropout=1.0 is a chance"),
        ({"views": ("a", "b"), "image_encoder": None}, "go with an image encoder"),
        ({"head": "multi_task"}, "with 0 tasks"),
        ({"tasks": (Task("a", "cox", 1),)}, "head='classification' with 1 tasks"),
    ],
)
def test_an_architecture_that_cannot_be_is_refused(settings, complaint):
    parts = {"image_encoder": "light_cnn", "table_encoder": "mlp", "fusion": "gated", "head": "classification"}
    with pytest.raises(ValueError, match=complaint):
        Architecture(**{**parts, "num_classes": 2, **settings})


def test_an_architecture_survives_json():
    architecture = build(
        head="multi_task",
        tasks=(Task("grade", "ordinal", 3), Task("death", "cox", 1, 0.5)),
        views=("frontal", "lateral"),
        shared_encoder=False,
        modality_dropout=0.1,
    ).architecture
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
    volumes = dataclasses.replace(build().architecture, image_encoder="light_cnn_3d", image_size=(8, 16, 16))
    assert Architecture.from_json(json.loads(json.dumps(volumes.to_json()))) == volumes


def test_an_architecture_of_before_bags_and_tasks_is_read():
    saved = build().architecture.to_json()
    for name in ("aggregator", "shared_encoder", "modality_dropout", "tasks"):
        del saved[name]
    saved["views"] = 0
    assert Architecture.from_json(saved) == build().architecture


def test_the_model_is_built_again_with_its_weights():
    model = build(fusion="transformer", head="classification", classes=3).eval()
    again = FusionModel(Architecture.from_json(model.architecture.to_json())).eval()
    again.load_state_dict(model.state_dict())
    present = everything(8, model)
    assert torch.equal(model(*rows(8), present), again(*rows(8), present))
    assert model.head.loss(model(*rows(8), present), GRADES).isfinite()
