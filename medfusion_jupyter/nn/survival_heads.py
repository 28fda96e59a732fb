"""Heads for the time to an event, part of the times being censored. A higher risk score always means a shorter time.

Targets are `(B, 2)` float: the time, above or at 0 in any unit, and 1 where the event was then, 0 where the row was last seen
without it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medfusion_jupyter.nn.heads import Head, heads, linear_layer

CURVE_TIMES = 10
"""At so many times Cox's survival is predicted where nothing else is said."""


class SurvivalHead(Head):
    """What heads of survival have beside a head's contract."""

    task = "survival"
    target_width = 2

    @property
    def times(self) -> Tensor:
        """The times `(P,)`, rising, at which `predict` gives the probability to be without the event; none where it does not."""
        return torch.zeros(0)

    def survival(self, outputs: Tensor, times: Tensor) -> Tensor:
        """`(B, K), (P,) -> (B, P)`: the probability to be without the event at given times, 0 to the last of `self.times`."""
        raise NotImplementedError("a survival head defines survival")

    def risk(self, outputs: Tensor) -> Tensor:
        """`(B, K) -> (B,)`: a score that is higher for rows whose event is expected sooner."""
        raise NotImplementedError("a survival head defines risk")


def cox_efron_loss(log_hazard: Tensor, time: Tensor, event: Tensor) -> Tensor:
    """`(N,), (N,), (N,) -> ()`: Cox's negative partial log-likelihood a event, with Efron's treatment of tied times.

    event: bool. 0, with gradients of 0, where nobody has the event. Every shape is fixed by N, so nothing is asked of the
    device.

    Cox, JRSS B 1972; Efron, JASA 1977.
    """
    time, order = time.sort(descending=True)
    eta, event = log_hazard.float()[order], event[order]
    n = len(time)
    # of each row, the place of the last row with its time: all rows up to there are at risk
    last = torch.searchsorted(-time, -time, right=True) - 1
    at_risk = eta.logcumsumexp(dim=0)[last]
    # of each group of tied times, known by its last row: how many events, and the logarithm of their summed hazards
    count = torch.zeros(n, device=eta.device).index_add(0, last, event.float())
    lowest = torch.finfo(eta.dtype).min
    shift = torch.full_like(eta, lowest).scatter_reduce(0, last, eta.detach().masked_fill(~event, lowest), "amax")
    shift = shift.masked_fill(count == 0, 0.0)
    hazard = torch.where(event, eta - shift[last], lowest).exp()
    tied = torch.zeros(n, device=eta.device).index_add(0, last, hazard)
    log_tied = (tied.clamp_min(torch.finfo(eta.dtype).tiny).log() + shift)[last]
    # the l-th of d tied events counts l/d of their hazards as gone already
    # of whole numbers: a sum of floats on the way has no deterministic form on a GPU
    before = (event.long().cumsum(0) - event.long()).float()
    begins = torch.searchsorted(-time, -time)
    rank = before - before[begins]
    share = (rank / count[last].clamp_min(1)).masked_fill(~event, 0.0)
    still = torch.where(event, log_tied - at_risk, torch.zeros_like(eta)).clamp_max(0.0)
    log_sum = at_risk + torch.log1p(-share * still.exp())
    return torch.where(event, log_sum - eta, 0.0).sum() / event.sum().clamp_min(1)


@heads.register("cox")
class Cox(SurvivalHead):
    """Proportional hazards: the logarithm of each row's hazard, relative to that of the others.

    Outputs `(B, 1)`; the loss is Cox's partial likelihood over the rows of the batch, which should hold several events;
    the risk is the log hazard. `num_classes` is 1. `fit_outputs` learns the baseline hazard of the training part; from then on
    predictions `(B, P)` are the probabilities to be without the event at `times`, quantiles of those of events; before it they
    are the log hazard `(B, 1)`. Katzman et al., "DeepSurv", BMC Med Res Methodol 2018; Breslow, JRSS B 1972.
    """

    baseline_times: Tensor | None
    log_baseline: Tensor | None

    def __init__(self, in_features: int, num_classes: int = 1) -> None:
        super().__init__()
        if num_classes != 1:
            raise ValueError(f"head='cox' has one output, the log hazard; num_classes is {num_classes}, set it to 1.")
        self.linear = linear_layer(in_features, 1)
        # the times of events `(E,)`, and the logarithm of the baseline hazard summed up to each
        self.register_buffer("baseline_times", None)
        self.register_buffer("log_baseline", None)

    @property
    def fits_outputs(self) -> bool:
        return True

    def fit_outputs(self, outputs: Tensor, target: Tensor) -> None:
        """Breslow's estimate: at each time the events then over the summed hazards of those who are still at risk."""
        time, order = target[:, 0].float().sort()
        log_hazard, event = outputs[order, 0].double(), target[order, 1] > 0.5
        moments, place = torch.unique(time, return_inverse=True)
        # from the first row of a time on all are at risk
        log_at_risk = log_hazard.flip(0).logcumsumexp(dim=0).flip(0)[torch.searchsorted(time, moments)]
        events = torch.zeros(len(moments), dtype=torch.float64, device=time.device).index_add(0, place, event.double())
        there = events > 0
        self.baseline_times = moments[there]
        self.log_baseline = (events.log() - log_at_risk)[there].logcumsumexp(dim=0).float()

    @property
    def times(self) -> Tensor:
        if self.baseline_times is None:
            return torch.zeros(0)
        events = len(self.baseline_times)
        count = min(CURVE_TIMES, events)
        # the last of each tenth of them
        return self.baseline_times[[-(-part * events // count) - 1 for part in range(1, count + 1)]]

    def survival(self, outputs: Tensor, times: Tensor) -> Tensor:
        assert self.baseline_times is not None
        assert self.log_baseline is not None
        # nothing has happened before the first event
        steps = torch.cat([self.log_baseline.new_full((1,), -torch.inf), self.log_baseline])
        # counted, for ONNX knows no searchsorted
        events_until = (self.baseline_times <= times.to(self.baseline_times)[:, None]).sum(dim=1)
        log_baseline = steps[events_until]
        return torch.exp(-torch.exp(log_baseline + outputs.float()))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *given: Any) -> None:
        # a checkpoint of a training has none, and a stored model as many times as there were events
        for name in ("baseline_times", "log_baseline"):
            stored = state_dict.get(prefix + name)
            setattr(self, name, None if stored is None else torch.empty_like(stored))
        super()._load_from_state_dict(state_dict, prefix, *given)

    def forward(self, fused: Tensor) -> Tensor:
        log_hazard: Tensor = self.linear(fused)
        return log_hazard

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return cox_efron_loss(outputs[:, 0], target[:, 0], target[:, 1] > 0.5)

    def row_counts(self, target: Tensor) -> Tensor:
        return target[:, 1].float()

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.float() if self.baseline_times is None else self.survival(outputs, self.times)

    def risk(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0].float()


@heads.register("hazard")
class DiscreteHazard(SurvivalHead):
    """The chance of the event in each of `num_classes` intervals of time, given that it was not before.

    Outputs `(B, K)` are logits of the hazards; predictions `(B, K)` the probabilities of being without the event at the end
    of each interval; the risk is minus the time expected without it up to the last edge. `fit` lays the edges `(K + 1,)`, 0
    first, so that each interval (after an edge, up to and with the next) has as many events of the training part; before,
    each is one unit of time. A row censored in an interval counts as having lived through it where it was seen for half of it
    or more.

    Gensheimer and Narasimhan, "A scalable discrete-time survival model for neural networks", PeerJ 2019.
    """

    outputs = 10
    edges: Tensor

    @property
    def times(self) -> Tensor:
        return self.edges[1:]

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = linear_layer(in_features, num_classes)
        self.register_buffer("edges", torch.arange(num_classes + 1, dtype=torch.float32))

    def fit(self, target: Tensor) -> None:
        """Lay the edges at quantiles of the times of events. Raises ValueError where there is no event after time 0."""
        times = target[target[:, 1] > 0.5, 0].double().cpu()
        times = times[times > 0]
        if not len(times):
            raise ValueError(
                "head='hazard' needs events in the training part: every row is censored, or has its event at 0."
            )
        intervals = len(self.edges) - 1
        quantiles = torch.quantile(times, torch.linspace(0, 1, intervals + 1, dtype=torch.float64))
        quantiles[0] = 0.0
        if (quantiles.diff() <= 0).any():
            # many ties: intervals of the same length, rather than some of none
            quantiles = torch.linspace(0, float(times.max()), intervals + 1, dtype=torch.float64)
        self.edges.copy_(quantiles)

    def forward(self, fused: Tensor) -> Tensor:
        logits: Tensor = self.linear(fused)
        return logits

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The mean over rows of the negative log-likelihood of what was seen of them: `log σ(-z)` of each interval lived through,
        `log σ(z)` of that of the event."""
        time, event = target[:, :1].float(), target[:, 1:] > 0.5
        start, end = self.edges[:-1], self.edges[1:]
        first = torch.arange(len(start), device=time.device) == 0
        died = event & ((time > start) | first) & (time <= end)
        lived = torch.where(event, time > end, time >= (start + end) / 2)
        logits = outputs.float()
        losses = functional.softplus(logits) * lived + functional.softplus(-logits) * died
        return losses.sum() / len(losses)

    def predict(self, outputs: Tensor) -> Tensor:
        return self._log_survival(outputs).exp()

    def _log_survival(self, outputs: Tensor) -> Tensor:
        """`(B, K) -> (B, K)`: at the end of each interval, the sum over those up to it."""
        lived = functional.logsigmoid(-outputs.float())
        up_to = torch.ones(lived.shape[1], lived.shape[1], device=lived.device).tril()
        # not cumsum, which has no deterministic form for floats on a GPU
        return (lived.unsqueeze(1) * up_to).sum(dim=2)

    def survival(self, outputs: Tensor, times: Tensor) -> Tensor:
        """Within an interval the hazard stays the same."""
        log_survival = self._log_survival(outputs)
        log_survival = torch.cat([torch.zeros_like(log_survival[:, :1]), log_survival], dim=1)
        times = times.to(self.edges)
        after = torch.searchsorted(self.edges, times).clamp(1, len(self.edges) - 1)
        share = (times - self.edges[after - 1]) / (self.edges[after] - self.edges[after - 1])
        return torch.lerp(log_survival[:, after - 1], log_survival[:, after], share).exp()

    def risk(self, outputs: Tensor) -> Tensor:
        at_end = self.predict(outputs)
        at_start = torch.cat([torch.ones_like(at_end[:, :1]), at_end[:, :-1]], dim=1)
        return -((at_start + at_end) / 2 * self.edges.diff()).sum(dim=1)
