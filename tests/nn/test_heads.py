"""What each head's outputs, loss and predictions mean."""

import math

import pytest
import torch
from light_models import TARGETS, all_finite, build, everything, rows
from torch.utils._python_dispatch import TorchDispatchMode

from medfusion_jupyter.nn import Task, heads
from medfusion_jupyter.nn.heads import Head
from medfusion_jupyter.nn.multi_task import MultiTask

F = torch.nn.functional
PREDICTED = {"ordinal": 3, "gaussian": 2}


def head_of(name, classes=None, features=4):
    torch.manual_seed(0)
    return heads(name)(in_features=features, num_classes=TARGETS[name][0] if classes is None else classes).eval()


@pytest.mark.parametrize("name", list(heads))
def test_shapes_are_as_documented(name):
    classes, target = TARGETS[name]
    head = head_of(name)
    head.fit(target)
    outputs = head(torch.randn(8, 4))
    assert head.loss(outputs, target).shape == ()
    assert head.predict(outputs).shape == (8, PREDICTED.get(name, classes))
    assert (target.ndim == 1) == (head.target_width == 1)
    assert target.dtype == head.target_dtype
    assert head.predict(outputs.to(torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("name", list(heads))
def test_outputs_are_linear_in_the_fused_vector(name):
    """Late fusion rests on it: what it averages are logits."""
    head = head_of(name)
    a, b = torch.randn(2, 5, 4)
    assert torch.allclose(head((a + b) / 2), (head(a) + head(b)) / 2, atol=1e-5)


@pytest.mark.parametrize("name", ["classification", "focal", "ordinal"])
def test_probabilities_of_classes_sum_to_one(name):
    p = head_of(name).predict(10 * torch.randn(50, 2 if name == "ordinal" else 3))
    assert torch.allclose(p.sum(1), torch.ones(50))
    assert (p >= 0).all()


@pytest.mark.parametrize("name", [name for name in heads if heads(name).weighs_rows])
def test_the_loss_is_the_mean_of_the_rows_losses(name):
    head, (_, target) = head_of(name), TARGETS[name]
    outputs = torch.randn(8, 3)
    assert torch.allclose(head.loss(outputs, target), head.row_losses(outputs, target).mean())
    smooth = head.row_losses(outputs, target, label_smoothing=0.3)
    every = torch.stack([head.row_losses(outputs, torch.full((8,), k)) for k in range(3)]).mean(0)
    assert torch.allclose(smooth, 0.7 * head.row_losses(outputs, target) + 0.3 * every, atol=1e-6)


WITHOUT_DETERMINISTIC_FORM = {"cumsum", "cumsum_", "bincount", "histc", "put_", "kthvalue", "median"}
"""Operations of floats for which a GPU has none: torch refuses them in a run with deterministic=True."""


@pytest.mark.parametrize("name", list(heads))
def test_each_can_be_had_with_deterministic_true_on_a_gpu(name):
    class Used(TorchDispatchMode):
        def __torch_dispatch__(self, call, types, given=(), more=None):
            if given and isinstance(given[0], torch.Tensor) and given[0].is_floating_point():
                used.add(call.overloadpacket.__name__)
            return call(*given, **(more or {}))

    used = set()
    classes, target = TARGETS[name]
    head = heads(name)(6, classes)
    head.fit(target)
    with Used():
        outputs = head(torch.randn(8, 6))
        head.loss(outputs, target).backward()
        head.predict(outputs)
        if hasattr(head, "risk"):
            head.risk(outputs)
    assert {"mm", "addmm"} & used
    assert not used & WITHOUT_DETERMINISTIC_FORM


def test_focal_loss_is_cross_entropy_weighted_by_the_squared_miss():
    head = head_of("focal")
    outputs, target = torch.randn(8, 3), TARGETS["focal"][1]
    p = outputs.softmax(1)[range(8), target]
    assert torch.allclose(head.row_losses(outputs, target), -((1 - p) ** 2) * p.log(), atol=1e-6)


def test_a_finding_that_is_not_known_does_not_count():
    head = head_of("multilabel", 3)
    outputs = torch.randn(4, 3, requires_grad=True)
    target = torch.tensor([[1, 0, math.nan], [0, math.nan, 1], [1, 1, 0], [math.nan] * 3])
    known = ~target.isnan()
    loss = head.loss(outputs, target)
    assert torch.allclose(loss, F.binary_cross_entropy_with_logits(outputs[known], target[known]))
    loss.backward()
    assert (outputs.grad[~known] == 0).all()
    assert head.loss(outputs[3:], target[3:]) == 0


def test_the_best_constant_of_the_ordinal_head_is_the_share_of_each_grade():
    """Closed form: with no features, each threshold's logit is the log odds among the rows that it bears on."""
    target = torch.tensor([0] * 5 + [1] * 3 + [2] * 8 + [3] * 4)
    logits = torch.tensor([[math.log(15 / 5), math.log(12 / 3), math.log(4 / 8)]]).expand(20, -1)
    head = head_of("ordinal", 4)
    assert torch.allclose(head.predict(logits)[0], torch.tensor([5, 3, 8, 4]) / 20, atol=1e-6)
    variable = logits.clone().requires_grad_()
    head.loss(variable, target).backward()
    assert torch.allclose(variable.grad.sum(0), torch.zeros(3), atol=1e-6)


def test_the_ordinal_loss_is_the_mean_over_the_thresholds_that_bear_on_a_row():
    head = head_of("ordinal", 3)
    outputs, target = torch.randn(3, 2), torch.tensor([0, 1, 2])
    pieces = [(0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 1), (2, 1, 1)]  # row, threshold, above it
    by_hand = sum(F.softplus(outputs[r, k] if not above else -outputs[r, k]) for r, k, above in pieces) / len(pieces)
    assert torch.allclose(head.loss(outputs, target), by_hand)


def test_an_ordinal_head_of_one_grade_is_refused():
    with pytest.raises(ValueError, match="needs 2 or more grades, there are 1"):
        head_of("ordinal", 1)


@pytest.mark.parametrize("name", ["regression", "huber", "gaussian"])
def test_numbers_are_predicted_in_their_own_unit(name):
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    y = 5000 + 300 * x[:, 0]
    head = head_of(name)
    head.fit(y)
    head.train()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for module in head.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(head(x), y).backward()
        optimizer.step()
    assert (head.predict(head(x))[:, 0] - y).abs().mean() < 40


def test_the_scale_of_the_targets_is_stored_with_the_weights():
    head, other = head_of("regression"), head_of("regression")
    head.fit(torch.tensor([10.0, 20.0, 30.0, math.nan]))
    other.load_state_dict(head.state_dict())
    assert torch.allclose(other.predict(torch.zeros(1, 1)), torch.tensor([[20.0]]))
    constant = head_of("regression")
    constant.fit(torch.full((5,), 3.0))
    assert constant.loss(torch.zeros(2, 1), torch.full((2,), 3.0)) == 0


def test_numbers_that_are_not_known_do_not_count():
    head = head_of("regression", 2)
    outputs = torch.randn(2, 2)
    target = torch.tensor([[1.0, math.nan], [2.0, 3.0]])
    by_hand = torch.stack([outputs[0, 0] - 1, outputs[1, 0] - 2, outputs[1, 1] - 3]).square().mean()
    assert torch.allclose(head.loss(outputs, target), by_hand)


def test_the_gaussian_head_is_the_log_density_of_the_normal_distribution():
    from scipy.stats import norm

    head = head_of("gaussian")
    head.fit(torch.tensor([2.0, 4.0, 9.0]))
    outputs, target = torch.randn(5, 2), torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0])
    mean, std = head.predict(outputs).T.double().numpy()
    density = -norm.logpdf(target.double().numpy(), mean, std).mean()
    # the loss is in standard deviations of the training part: a density differs by the logarithm of the unit
    assert math.isclose(head.loss(outputs, target).item() + math.log(head.std.item()), density, rel_tol=1e-4)


def test_the_gaussian_head_finds_the_noise_of_each_group():
    torch.manual_seed(0)
    group = torch.arange(2000) % 2
    y = torch.randn(2000) * torch.tensor([0.5, 3.0])[group] + 10
    head = head_of("gaussian", features=2)
    head.fit(y)
    x = F.one_hot(group, 2).float()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        head.loss(head(x), y).backward()
        optimizer.step()
    std = head.predict(head(torch.eye(2)))[:, 1]
    assert torch.allclose(std, torch.tensor([0.5, 3.0]), rtol=0.15)


TASKS = (Task("grade", "classification", 3), Task("score", "regression", 1), Task("death", "cox", 1, weight=0.5))


def multi_target():
    return torch.cat(
        [TARGETS["classification"][1].unsqueeze(1), TARGETS["regression"][1].unsqueeze(1), TARGETS["cox"][1]], 1
    )


def test_tasks_add_up():
    torch.manual_seed(0)
    head = MultiTask(4, TASKS).eval()
    fused, target = torch.randn(8, 4), multi_target()
    outputs = head(fused)
    each = head.of_parts(outputs)
    assert list(each) == ["grade", "score", "death"]
    assert [one.shape[1] for one in each.values()] == [3, 1, 1]
    by_hand = (
        head.parts["grade"].loss(each["grade"], TARGETS["classification"][1])
        + head.parts["score"].loss(each["score"], TARGETS["regression"][1])
        + 0.5 * head.parts["death"].loss(each["death"], TARGETS["cox"][1])
    )
    assert torch.allclose(head.loss(outputs, target), by_hand)
    assert head.predict(outputs).shape == (8, 5)


def test_a_row_counts_for_the_tasks_whose_target_it_has():
    torch.manual_seed(0)
    head = MultiTask(4, TASKS[:2]).eval()
    target = multi_target()[:, :2]
    target[:3, 0] = math.nan
    target[:, 1] = math.nan
    outputs = head(torch.randn(8, 4)).detach().requires_grad_()
    loss = head.loss(outputs, target)
    assert torch.allclose(loss, F.cross_entropy(outputs[3:, :3], target[3:, 0].long()))
    loss.backward()
    assert (outputs.grad[:3] == 0).all()
    assert all_finite([outputs.grad])


def test_tasks_are_scaled_by_their_own_targets():
    head = MultiTask(4, (Task("a", "regression", 1), Task("b", "hazard", 2)))
    numbers = torch.tensor([[10.0], [20.0], [math.nan], [30.0]])
    head.fit(torch.cat([numbers, torch.tensor([[1.0, 1], [2, 1], [3, 1], [4, 1]])], dim=1))
    assert head.parts["a"].mean == 20
    assert torch.equal(head.parts["b"].edges, torch.tensor([0, 2.5, 4]))


def test_two_tasks_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Two tasks have one name: a, a"):
        MultiTask(4, (Task("a", "cox", 1), Task("a", "hazard", 4)))


def test_a_model_of_several_tasks_learns_them_all():
    model = build(head="multi_task", classes=0, tasks=TASKS, fusion="concat").train()
    target = multi_target()
    model.head.fit(target)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        loss = model.head.loss(model(*rows(8), everything(8, model)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_every_head_says_what_is_missing():
    for method in ("forward", "loss", "predict"):
        with pytest.raises(NotImplementedError, match=f"defines {method}"):
            getattr(Head(), method)(*[None] * (2 if method == "loss" else 1))
