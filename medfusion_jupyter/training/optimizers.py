"""The optimiser of a run, its groups of parameters and their rates."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medfusion_jupyter.nn import FusionModel
from medfusion_jupyter.settings.optimisation import OptimisationSettings

ENCODERS = ("image_encoder.", "table_encoder.")


def build_optimizer(model: FusionModel, settings: OptimisationSettings) -> torch.optim.Optimizer:
    """The optimiser of the settings, fused where torch has it so.

    Vectors (biases, norms, absent tokens) are not decayed. Each group has a `peak`, the rate that the schedule is a share of.
    AdamW: Loshchilov and Hutter, ICLR 2019; Adafactor: Shazeer and Stern, ICML 2018.
    """
    groups = _groups(model, settings)
    lr, decay = settings.lr, settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=decay, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=lr, weight_decay=decay, fused=True)
    if settings.optimizer == "nadam":
        return torch.optim.NAdam(groups, lr=lr, weight_decay=decay, decoupled_weight_decay=True)
    if settings.optimizer == "radam":
        return torch.optim.RAdam(groups, lr=lr, weight_decay=decay, decoupled_weight_decay=True)
    if settings.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, lr=lr, weight_decay=decay)
    momentum = 0.9 if settings.momentum is None else settings.momentum
    sgd = torch.optim.SGD(
        groups, lr=lr, weight_decay=decay, momentum=momentum, nesterov=bool(settings.nesterov), fused=True
    )
    if momentum:
        for parameter in model.parameters():
            # from 0 it becomes the first gradient, as without it; the fused kernel fails where some have theirs later than others
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def parameter_names(model: FusionModel, settings: OptimisationSettings) -> list[str]:
    """The names of the parameters in the order in which the optimiser numbers them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in _groups(model, settings) for parameter in group["params"]]


def _groups(model: FusionModel, settings: OptimisationSettings) -> list[dict[str, Any]]:
    if settings.encoder_lr is None:
        return _decayed_and_free(list(model.parameters()), settings.lr, of_encoders=False)
    encoders = [p for name, p in model.named_parameters() if name.startswith(ENCODERS)]
    rest = [p for name, p in model.named_parameters() if not name.startswith(ENCODERS)]
    return _decayed_and_free(rest, settings.lr, of_encoders=False) + _decayed_and_free(
        encoders, settings.encoder_lr, of_encoders=True
    )


def _decayed_and_free(parameters: list[nn.Parameter], peak: float, *, of_encoders: bool) -> list[dict[str, Any]]:
    common = {"peak": peak, "of_encoders": of_encoders}
    return [
        {"params": [p for p in parameters if p.ndim > 1], **common},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, **common},
    ]
