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


def bags_of(n=4, images=3):
    _, numeric, codes = rows(n)
    return torch.randn(n, images, 1, 16, 16, generator=torch.Generator().manual_seed(3)), numeric, codes


@EACH
@pytest.mark.parametrize("fusion", ["gated", "cross_attention", "transformer"])
def test_a_model_of_bags_trains_and_an_empty_bag_is_an_absent_image(name, fusion):
    model = build(aggregator=name, fusion=fusion)
    image, numeric, codes = bags_of()
    instances = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)
    present = torch.ones(4, 2, dtype=torch.bool)
    model.train()
    out = model(image, numeric, codes, present, instances=instances)
    model.head.loss(out, torch.tensor([0, 1, 0, 1])).backward()
    assert all_finite(p.grad for p in model.parameters())
    model.eval()
    out = model(image, numeric, codes, present, instances=instances)
    told = present.clone()
    told[2, 0] = False
    assert torch.allclose(out[2], model(image, numeric, codes, told)[2], atol=1e-6)
    noise = torch.where(instances[:, :, None, None, None], image, torch.full_like(image, 1e6))
    assert torch.allclose(out, model(noise, numeric, codes, present, instances=instances), atol=1e-5)


@pytest.mark.parametrize("fusion", list(fusions))
def test_a_batch_of_empty_bags_leaves_gradients_finite(fusion):
    model = build(aggregator="gated_attention", fusion=fusion).train()
    nothing = torch.zeros(4, 3, dtype=torch.bool)
    out = model(*bags_of(), torch.ones(4, 2, dtype=torch.bool), instances=nothing)
    model.head.loss(out, torch.tensor([0, 1, 0, 1])).backward()
    assert all_finite([out, *(p.grad for p in model.parameters())])


def test_absent_images_of_bags_do_not_move_the_batch_statistics():
    model, other = build(aggregator="mean", table=None).train(), build(table=None).train()
    image = bags_of()[0]
    instances = torch.rand(4, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    model(image, None, None, torch.ones(4, 1, dtype=torch.bool), instances=instances)
    flat = image[instances]
    other(flat, None, None, torch.ones(len(flat), 1, dtype=torch.bool))
    for (name, a), (_, b) in zip(model.image_encoder.named_buffers(), other.image_encoder.named_buffers(), strict=True):
        assert torch.allclose(a, b), name


def test_views_are_told_apart_and_images_of_a_bag_are_not():
    image = bags_of()[0]
    present = torch.ones(4, 1, dtype=torch.bool)
    for views, alike in ((0, True), (3, False)):
        model = build(aggregator="transformer", table=None, views=views).eval()
        with torch.no_grad():
            if views:
                model.view_embeddings.normal_()
            same = torch.allclose(
                model(image, None, None, present), model(image.flip(1), None, None, present), atol=1e-5
            )
        assert same == alike


def test_a_bag_without_its_dimension_is_refused():
    with pytest.raises(ValueError, match="aggregator='mean' takes images of 5 dimensions"):
        build(aggregator="mean")(*rows(2), torch.ones(2, 2, dtype=torch.bool))
