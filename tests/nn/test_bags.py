"""Several images a row: what is not there has no effect, and the order of a bag means nothing."""

import pytest
import torch
from light_models import all_finite, build, rows

from medfusion_jupyter.nn import aggregators, fusions

EACH = pytest.mark.parametrize("name", list(aggregators))


def bag(name):
    torch.manual_seed(0)
    return aggregators(name)(in_features=12).eval(), torch.randn(4, 5, 12), torch.rand(4, 5) < 0.6


@EACH
def test_what_lies_where_no_image_is_has_no_effect(name):
    module, instances, there = bag(name)
    there[:, 0] = True
    other = torch.where(there.unsqueeze(2), instances, torch.nan)
    assert torch.allclose(module(instances, there), module(other, there), atol=1e-6)
    shorter = module(instances[:1, there[0]], torch.ones(1, int(there[0].sum()), dtype=torch.bool))
    assert torch.allclose(module(instances, there)[0], shorter[0], atol=1e-5)


@EACH
def test_the_order_of_a_bag_means_nothing(name):
    module, instances, there = bag(name)
    order = torch.randperm(5)
    assert torch.allclose(module(instances, there), module(instances[:, order], there[:, order]), atol=1e-5)


@EACH
def test_an_empty_bag_is_finite_and_so_are_its_gradients(name):
    module, instances, there = bag(name)
    there[1:3] = False
    instances.requires_grad_()
    out = module(instances, there)
    out.square().sum().backward()
    assert out.shape == (4, 12)
    assert all_finite([out, instances.grad, *(p.grad for p in module.parameters())])
    assert (instances.grad[~there] == 0).all()


def test_mean_and_max_are_so():
    _, instances, there = bag("mean")
    there[:, 2] = True
    for name, reduce in (("mean", lambda x: x.mean(0)), ("max", lambda x: x.amax(0))):
        by_hand = torch.stack([reduce(row[mask]) for row, mask in zip(instances, there, strict=True)])
        assert torch.allclose(aggregators(name)(in_features=12)(instances, there), by_hand, atol=1e-6)


@pytest.mark.parametrize("name", ["attention", "gated_attention", "transformer", "max"])
def test_one_telling_image_among_many_is_found(name):
    torch.manual_seed(0)
    module = torch.nn.ModuleList([aggregators(name)(in_features=12), torch.nn.Linear(12, 1)])
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(300):
        instances = torch.randn(64, 10, 12)
        y = torch.arange(64) % 2
        instances[:, 3, 0] += 5.0 * y
        there = torch.ones(64, 10, dtype=torch.bool)
        answer = module[1](module[0](instances, there)).squeeze(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(answer, y.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((answer > 0) == y.bool()).float().mean() > 0.85


def bags_of(instances, size=16):
    """The images of bags, one after the other, and the table of their rows."""
    _, numeric, codes = rows(len(instances))
    g = torch.Generator().manual_seed(3)
    return torch.randn(int(instances.sum()), 1, size, size, generator=g), numeric, codes


BAGS = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)


@EACH
@pytest.mark.parametrize("fusion", ["gated", "cross_attention", "transformer"])
def test_a_model_of_bags_trains_and_an_empty_bag_is_an_absent_image(name, fusion):
    model = build(aggregator=name, fusion=fusion)
    images, numeric, codes = bags_of(BAGS)
    present = torch.ones(4, 2, dtype=torch.bool)
    model.train()
    out = model(images, numeric, codes, present, instances=BAGS)
    model.head.loss(out, torch.tensor([0, 1, 0, 1])).backward()
    assert all_finite(p.grad for p in model.parameters())
    model.eval()
    out = model(images, numeric, codes, present, instances=BAGS)
    told = present.clone()
    told[2, 0] = False
    assert torch.allclose(out[2], model(images, numeric, codes, told, instances=BAGS)[2], atol=1e-6)
    # the places of a bag may lie apart, and beyond them there may be empty ones
    apart = torch.zeros(4, 7, dtype=torch.bool)
    apart[:, [1, 2, 5]] = BAGS
    assert torch.allclose(out, model(images, numeric, codes, present, instances=apart), atol=1e-5)


@pytest.mark.parametrize("fusion", list(fusions))
def test_a_batch_of_empty_bags_leaves_gradients_finite(fusion):
    model = build(aggregator="gated_attention", fusion=fusion).train()
    nothing = torch.zeros(4, 3, dtype=torch.bool)
    out = model(*bags_of(nothing), torch.ones(4, 2, dtype=torch.bool), instances=nothing)
    model.head.loss(out, torch.tensor([0, 1, 0, 1])).backward()
    assert all_finite([out, *(p.grad for p in model.parameters())])


def test_images_of_bags_move_the_batch_statistics_as_so_many_images_do():
    model, other = build(aggregator="mean", table=None).train(), build(table=None).train()
    images = bags_of(BAGS)[0]
    model(images, None, None, torch.ones(4, 1, dtype=torch.bool), instances=BAGS)
    other(images, None, None, torch.ones(len(images), 1, dtype=torch.bool))
    for (name, a), (_, b) in zip(model.image_encoder.named_buffers(), other.image_encoder.named_buffers(), strict=True):
        assert torch.allclose(a, b), name


def test_the_order_of_the_images_of_a_bag_makes_no_difference():
    model = build(aggregator="transformer", fusion="transformer", table=None).eval()
    whole = torch.ones(2, 3, dtype=torch.bool)
    images, present = bags_of(whole)[0], torch.ones(2, 1, dtype=torch.bool)
    turned = images[[2, 1, 0, 5, 4, 3]]
    assert torch.allclose(
        model(images, None, None, present, instances=whole),
        model(turned, None, None, present, instances=whole),
        atol=1e-5,
    )


def views_of(n=4, size=16):
    _, numeric, codes = rows(n)
    g = torch.Generator().manual_seed(3)
    return [torch.randn(n, 1, size, size, generator=g) for _ in range(2)], numeric, codes


VIEWS = {"views": ("front", "side")}
SEEN = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 1, 0]], dtype=torch.bool)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("fusion", list(fusions))
def test_each_view_is_a_modality_that_may_be_absent(fusion, shared):
    model = build(fusion=fusion, table="ft_transformer", shared_encoder=shared, **VIEWS)
    assert model.architecture.modalities == ("front", "side", "table")
    images, numeric, codes = views_of()
    model.train()
    out = model(images, numeric, codes, SEEN)
    model.head.loss(out, torch.tensor([0, 1, 0, 1])).backward()
    assert all_finite([out, *(p.grad for p in model.parameters())])
    model.eval()
    out = model(images, numeric, codes, SEEN)
    for column, image in enumerate(images):
        noise = [*images]
        noise[column] = torch.where(SEEN[:, column, None, None, None], image, torch.randn_like(image) * 50)
        assert torch.allclose(out, model(noise, numeric, codes, SEEN), atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_views_are_told_apart(shared):
    model = build(table=None, shared_encoder=shared, **VIEWS).eval()
    images, there = views_of()[0], torch.ones(4, 2, dtype=torch.bool)
    out = model(images, None, None, there, True)
    assert not torch.allclose(out, model(images[::-1], None, None, there, True), atol=1e-4)
    assert len(model.image_encoders) == (1 if shared else 2)


def test_a_shared_encoder_sees_the_views_as_one_batch():
    model, other = build(table=None, **VIEWS).train(), build(table=None).train()
    images = views_of()[0]
    model(images, None, None, SEEN[:, :2])
    seen = torch.cat([images[0][SEEN[:, 0]], images[1][SEEN[:, 1]]])
    other(seen, None, None, torch.ones(len(seen), 1, dtype=torch.bool))
    for (name, a), (_, b) in zip(model.image_encoder.named_buffers(), other.image_encoder.named_buffers(), strict=True):
        assert torch.allclose(a, b), name
