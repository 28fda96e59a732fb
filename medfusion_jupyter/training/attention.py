"""Attention supervision: a term that draws what the model looks at into the lesions that somebody marked."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medfusion_jupyter.data.batches import Batch, BatchSource
from medfusion_jupyter.nn import Encoded, FusionModel, ImageEncoder
from medfusion_jupyter.training.validation import validate


def pools_its_map(encoder: ImageEncoder) -> bool:
    """Whether the encoder's vector is the mean over the positions of its map, as Grad-CAM supposes."""
    return type(encoder).encode is ImageEncoder.encode and encoder.dimensions == 2


def with_attention(model: FusionModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Outputs `(B, K)`, and where in the image the evidence for each row's class is: `(B, h, w)`, 0 or more.

    Grad-CAM of the log-odds of the row's own class, over the last map of the image encoder. Gradients go through both.
    Selvaraju et al., "Grad-CAM", ICCV 2017.
    """
    assert batch.target is not None
    tokens = model.image_tokens(batch.images[0], batch.present[:, 0], batch.all_present)
    if not tokens.requires_grad:  # a frozen encoder's, or in evaluation
        tokens = tokens.detach().requires_grad_()
    seen = Encoded(tokens.mean(dim=1), tokens if model.fusion.uses_tokens else None)
    outputs = model(seen, batch.numeric, batch.codes, batch.present, batch.all_present)
    (slope,) = torch.autograd.grad(_log_odds(outputs, batch.target).sum(), tokens, create_graph=True)
    evidence = functional.relu((slope.mean(dim=1, keepdim=True) * tokens).float().sum(dim=2))
    side = math.isqrt(evidence.shape[1])
    return outputs, evidence.view(-1, side, side)


def share_inside(attention: Tensor, masks: Tensor) -> Tensor:
    """`(B, h, w), (B, 1, H, W) -> (B,)`: which share of the attention lies inside the mask, 0 to 1; NaN where nothing is marked.

    A position of the map counts as inside as soon as a marked pixel (above a half) lies in it, so that 1 can be reached
    with lesions that are smaller than a position.
    """
    marked = functional.adaptive_max_pool2d((masks > 0.5).to(attention.dtype), attention.shape[-2:]).squeeze(1)
    total = attention.sum(dim=(1, 2))
    share = (attention * marked).sum(dim=(1, 2)) / total.clamp_min(torch.finfo(attention.dtype).tiny)
    return torch.where(marked.flatten(1).any(dim=1), share, torch.nan)


def attention_loss(attention: Tensor, masks: Tensor) -> Tensor:
    """The mean share of the attention that lies outside, `()`, over the rows where something is marked; 0 where none is.

    The energy loss of Rao et al., "Studying how to efficiently and effectively guide models with explanations", ICCV 2023,
    after the energy-based pointing game of Wang et al., "Score-CAM", CVPR workshops 2020. It asks nothing of how strong the
    attention is, nor of how it lies within the mask, so that boxes around lesions do as well.
    """
    outside = 1 - share_inside(attention, masks)
    known = ~outside.isnan()
    return torch.where(known, outside, 0.0).sum() / known.sum().clamp_min(1)


def validate_with_attention(
    model: FusionModel, source: BatchSource, autocast: AbstractContextManager[Any]
) -> dict[str, float]:
    """As `validate`, and `val/attention_inside`: the mean share of the attention inside the masks, where any row has one."""
    inside = attention_inside(model, source, autocast)
    more = {} if math.isnan(inside) else {"val/attention_inside": inside}
    return {**validate(model, source, autocast), **more}


def attention_inside(model: FusionModel, source: BatchSource, autocast: AbstractContextManager[Any]) -> float:
    """The mean share of the attention inside the masks over all rows of `source` where something is marked; NaN where none is."""
    learning = [module for module in model.modules() if module.training]
    model.eval()
    shares = []
    try:
        for batch in source.epoch(None, None, None):
            assert batch.mask is not None
            with torch.enable_grad(), autocast:
                _, attention = with_attention(model, batch)
            shares.append(share_inside(attention.detach(), batch.mask))
    finally:
        for module in learning:
            module.training = True
    return float(torch.cat(shares).nanmean())


def _log_odds(outputs: Tensor, target: Tensor) -> Tensor:
    """`(B, K), (B,) -> (B,)`: of each row's class against all others, from logits."""
    own = outputs.gather(1, target.unsqueeze(1))
    others = outputs.scatter(1, target.unsqueeze(1), float("-inf"))
    log_odds: Tensor = own.squeeze(1) - others.logsumexp(dim=1)
    return log_odds
