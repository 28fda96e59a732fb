"""Cox's likelihood and discrete hazards, against an independent library and against closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medfusion_jupyter.nn import heads
from medfusion_jupyter.nn.survival_heads import SurvivalHead, cox_efron_loss


def cohort(seed, n=80, ties=True, columns=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    time = rng.exponential(np.exp(-x[:, 0]))
    time = np.ceil(4 * time) if ties else time
    return x, time, rng.random(n) < 0.6


@given(seed=st.integers(0, 10_000), ties=st.booleans(), n=st.integers(3, 60))
@settings(max_examples=40, deadline=None)
def test_the_cox_loss_and_its_gradient_are_those_of_statsmodels(seed, ties, n):
    from statsmodels.duration.hazard_regression import PHReg

    x, time, event = cohort(seed, n, ties)
    event[0] = True
    beta = np.random.default_rng(seed).normal(size=3)
    theirs = PHReg(time, x, status=event.astype(int), ties="efron")
    weights = torch.tensor(beta, requires_grad=True)
    loss = cox_efron_loss(torch.tensor(x) @ weights, torch.tensor(time), torch.tensor(event)) * event.sum()
    loss.backward()
    assert math.isclose(loss.item(), -theirs.loglike(beta), rel_tol=1e-4, abs_tol=1e-4)
    assert np.allclose(weights.grad.numpy(), -theirs.score(beta), atol=1e-3, rtol=1e-4)


def test_a_linear_cox_model_finds_the_coefficients_of_statsmodels():
    from statsmodels.duration.hazard_regression import PHReg

    x, time, event = cohort(1, n=300)
    theirs = PHReg(time, x, status=event.astype(int), ties="efron").fit().params
    weights = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], line_search_fn="strong_wolfe", max_iter=100)
    inputs = [torch.tensor(x, dtype=torch.float32), torch.tensor(time), torch.tensor(event)]

    def closure():
        optimizer.zero_grad()
        loss = cox_efron_loss(inputs[0] @ weights, *inputs[1:])
        loss.backward()
        return loss

    optimizer.step(closure)
    assert np.allclose(weights.detach().numpy(), theirs, atol=1e-2)


def test_the_cox_loss_by_hand():
    """Times 1, 2, 2, 3 (the last censored): risk sets of 4 and of 3, with two tied events by Efron."""
    a, b, c, d = h = torch.tensor([0.3, -0.2, 0.5, 0.1])
    loss = cox_efron_loss(h, torch.tensor([1.0, 2, 2, 3]), torch.tensor([True, True, True, False]))
    exp = [x.exp() for x in h]
    second = exp[1] + exp[2] + exp[3]
    by_hand = (sum(exp)).log() - a + second.log() + (second - (exp[1] + exp[2]) / 2).log() - b - c
    assert torch.allclose(loss, by_hand / 3)
    assert d == h[3]


def test_without_covariates_the_cox_loss_is_the_mean_log_of_those_at_risk():
    loss = cox_efron_loss(torch.zeros(5), torch.arange(5.0), torch.ones(5, dtype=torch.bool))
    assert math.isclose(loss.item(), math.log(math.factorial(5)) / 5, rel_tol=1e-5)


def test_a_batch_without_events_has_a_loss_and_gradients_of_zero():
    eta = torch.randn(6, requires_grad=True)
    loss = cox_efron_loss(eta, torch.rand(6), torch.zeros(6, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert (eta.grad == 0).all()


def test_huge_log_hazards_and_many_ties_stay_finite():
    eta = (300 * torch.randn(50, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss = cox_efron_loss(eta, torch.arange(50) // 20 * 1.0, torch.arange(50) % 3 > 0)
    loss.backward()
    assert loss.isfinite()
    assert eta.grad.isfinite().all()


def test_the_order_of_the_rows_makes_no_difference():
    x, time, event = (torch.tensor(part) for part in cohort(4))
    order = torch.randperm(len(time))
    one, other = cox_efron_loss(x[:, 0], time, event), cox_efron_loss(x[order, 0], time[order], event[order])
    assert torch.allclose(one, other, atol=1e-5)


def hazard_head(intervals, features=1):
    torch.manual_seed(0)
    return heads("hazard")(in_features=features, num_classes=intervals).eval()


def test_the_best_constant_hazards_are_the_life_table():
    """Closed form: events of an interval over those at risk in it; the survival is then Kaplan and Meier's."""
    from statsmodels.duration.survfunc import SurvfuncRight

    # at each whole time some events, then some censored: a row censored at a time has lived through the interval up to it
    time = torch.tensor([1.0] * 9 + [2.0] * 7 + [3.0] * 6 + [4.0] * 8)
    event = torch.tensor([1.0] * 5 + [0] * 4 + [1] * 4 + [0] * 3 + [1] * 3 + [0] * 3 + [1] * 6 + [0] * 2)
    head = hazard_head(4)
    logits = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], line_search_fn="strong_wolfe", max_iter=200)
    target = torch.stack([time, event], dim=1)

    def closure():
        optimizer.zero_grad()
        loss = head.loss(logits.expand(len(time), -1), target)
        loss.backward()
        return loss

    optimizer.step(closure)
    hazards = [5 / 30, 4 / 21, 3 / 14, 6 / 8]
    assert torch.allclose(logits.sigmoid()[0], torch.tensor(hazards), atol=1e-3)
    kaplan_meier = SurvfuncRight(time.numpy(), event.numpy()).surv_prob
    assert np.allclose(head.predict(logits)[0].detach().numpy(), kaplan_meier, atol=1e-3)


def test_the_hazard_loss_is_that_of_a_logistic_regression_on_rows_and_intervals():
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    n, intervals = 200, 4
    time, event = rng.integers(1, intervals + 1, n).astype(float), rng.random(n) < 0.7
    logits = rng.normal(size=(n, intervals))
    lived, died = [], []
    for row in range(n):
        for k in range(int(time[row])):
            lived.append(logits[row, k])
            died.append(float(event[row] and k == int(time[row]) - 1))
    design = np.asarray(lived)[:, None]
    theirs = -sm.Logit(np.asarray(died), design).loglike(np.ones(1)) / n
    target = torch.stack([torch.tensor(time), torch.tensor(event)], dim=1).float()
    assert math.isclose(hazard_head(intervals).loss(torch.tensor(logits), target).item(), theirs, rel_tol=1e-5)


@pytest.mark.parametrize(
    ("time", "event", "lived", "died"),
    [
        (0.0, 1, [0, 0, 0], [1, 0, 0]),  # an event at once is one of the first interval
        (1.0, 1, [0, 0, 0], [1, 0, 0]),  # an interval has its end
        (1.1, 1, [1, 0, 0], [0, 1, 0]),
        (3.0, 1, [1, 1, 0], [0, 0, 1]),
        (9.0, 1, [1, 1, 1], [0, 0, 0]),  # after the last edge: it has lived through all
        (0.0, 0, [0, 0, 0], [0, 0, 0]),  # censored at once: it says nothing
        (1.4, 0, [1, 0, 0], [0, 0, 0]),
        (1.6, 0, [1, 1, 0], [0, 0, 0]),  # more than half of an interval counts as one
        (9.0, 0, [1, 1, 1], [0, 0, 0]),
    ],
)
def test_what_a_row_says_of_each_interval(time, event, lived, died):
    head = hazard_head(3)
    logits = torch.tensor([[0.3, -0.7, 1.1]])
    expected = sum(
        float(torch.nn.functional.softplus(z) * a + torch.nn.functional.softplus(-z) * b)
        for z, a, b in zip(logits[0], lived, died, strict=True)
    )
    assert math.isclose(head.loss(logits, torch.tensor([[time, event]])).item(), expected, abs_tol=1e-6)


def test_intervals_hold_as_many_events_each():
    head = hazard_head(5)
    generator = torch.Generator().manual_seed(0)
    time = torch.rand(1000, generator=generator) ** 3 * 100
    event = torch.rand(1000, generator=generator) < 0.5
    head.fit(torch.stack([time, event.float()], dim=1))
    assert head.edges[0] == 0
    counts = np.histogram(time[event].numpy(), head.edges.numpy())[0]
    assert counts.max() - counts.min() <= 2


def test_many_ties_give_intervals_of_the_same_length():
    head = hazard_head(4)
    head.fit(torch.tensor([[1.0, 1]] * 50 + [[8.0, 1]]))
    assert torch.equal(head.edges, torch.tensor([0.0, 2, 4, 6, 8]))


def test_intervals_without_any_event_are_refused():
    with pytest.raises(ValueError, match="every row is censored"):
        hazard_head(4).fit(torch.tensor([[3.0, 0], [2.0, 0]]))


def test_the_edges_are_stored_with_the_weights():
    head, other = hazard_head(3), hazard_head(3)
    head.fit(torch.tensor([[1.0, 1], [5, 1], [20, 1], [7, 0]]))
    other.load_state_dict(head.state_dict())
    assert torch.equal(head.edges, other.edges)


@pytest.mark.parametrize("name", ["cox", "hazard"])
def test_a_higher_risk_means_a_shorter_time(name):
    torch.manual_seed(0)
    g = torch.randn(400, 1)
    time = torch.empty(400).exponential_() / g[:, 0].exp()
    target = torch.stack([time, torch.ones(400)], dim=1)
    head = heads(name)(in_features=1, num_classes=1 if name == "cox" else 8)
    assert isinstance(head, SurvivalHead)
    head.fit(target)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        head.loss(head(g), target).backward()
        optimizer.step()
    risk = head.eval().risk(head(g))
    assert torch.corrcoef(torch.stack([risk, g[:, 0]]))[0, 1] > 0.9
    assert torch.corrcoef(torch.stack([risk, time.log()]))[0, 1] < -0.4


def test_survival_never_rises():
    survival = hazard_head(6).predict(5 * torch.randn(20, 6))
    assert (survival.diff(dim=1) <= 0).all()
    assert ((survival >= 0) & (survival <= 1)).all()


def test_cox_has_one_output():
    with pytest.raises(ValueError, match="head='cox' has one output"):
        heads("cox")(in_features=3, num_classes=2)


def fitted_cox(log_hazard, time, event):
    """A head that knows the baseline hazard beside these log hazards."""
    head = heads("cox")(in_features=1, num_classes=1).eval()
    head.fit_outputs(log_hazard[:, None].float(), torch.stack([time, event.double()], dim=1))
    return head


@pytest.mark.parametrize("ties", [True, False])
def test_the_survival_beside_a_hazard_is_that_of_statsmodels(ties):
    from statsmodels.duration.hazard_regression import PHReg

    x, time, event = cohort(3, n=120, ties=ties)
    beta = np.asarray([1.0, -0.5, 0.2])
    ((theirs_at, theirs, _),) = PHReg(time, x, status=event.astype(int), ties="breslow").baseline_cumulative_hazard(
        beta
    )
    head = fitted_cox(*(torch.tensor(part) for part in (x @ beta, time, event)))
    at = np.unique(theirs_at)
    # theirs is what has come before a time, ours includes it
    hazard = np.asarray([theirs[theirs_at == moment].min() for moment in at[1:]])
    ours = head.survival(torch.tensor(x @ beta)[:, None], torch.tensor(at[:-1]))
    assert np.allclose(ours.numpy(), np.exp(-hazard * np.exp(x @ beta)[:, None]), atol=1e-5)


def test_without_differences_the_survival_is_that_of_nelson_and_aalen():
    time, event = torch.tensor([1.0, 2, 2, 3, 5]), torch.tensor([1, 1, 0, 1, 0])
    head = fitted_cox(torch.full((5,), 7.0), time, event)
    steps = torch.tensor([0, 1 / 5, 1 / 5, 1 / 5 + 1 / 4, 1 / 5 + 1 / 4 + 1 / 2]).neg().exp()
    told = head.survival(torch.full((1, 1), 7.0), torch.tensor([0.5, 1.0, 1.9, 2.0, 3.0]))
    assert torch.allclose(told[0], steps, atol=1e-6)
    assert head.times.tolist() == [1, 2, 3]


def test_huge_log_hazards_have_a_survival():
    eta = 80 * torch.randn(50, generator=torch.Generator().manual_seed(0))
    head = fitted_cox(eta, torch.arange(50) // 5 * 1.0, torch.arange(50) % 3 > 0)
    told = head.predict(eta[:, None])
    assert told.isfinite().all()
    assert ((told >= 0) & (told <= 1)).all()


def test_the_baseline_is_stored_with_the_weights_and_older_weights_are_read():
    x, time, event = cohort(3, n=120, ties=False)
    head = fitted_cox(*(torch.tensor(part) for part in (x[:, 0], time, event)))
    outputs = torch.randn(4, 1)
    assert head.predict(outputs).shape == (4, 10)
    other = heads("cox")(in_features=1, num_classes=1).eval()
    without = other.state_dict()
    assert torch.equal(other.predict(outputs), outputs)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.predict(outputs), head.predict(outputs))
    other.load_state_dict(without)
    assert not len(other.times)


def test_between_its_edges_a_hazard_stays_the_same():
    head = hazard_head(3)
    outputs = torch.tensor([[0.0, 1.0, -1.0]])
    ends = head.predict(outputs)[0]
    told = head.survival(outputs, torch.tensor([0.0, 0.5, 1.0, 1.25, 3.0]))[0]
    expected = torch.stack([torch.tensor(1.0), ends[0] ** 0.5, ends[0], ends[0] * (ends[1] / ends[0]) ** 0.25, ends[2]])
    assert torch.allclose(told, expected, atol=1e-6)
