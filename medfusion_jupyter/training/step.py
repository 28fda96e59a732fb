"""One step of the optimiser: forward, loss, backward, and the update. Composed once, so that what is off costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medfusion_jupyter.data.batches import Batch
from medfusion_jupyter.nn import FusionModel
from medfusion_jupyter.training.attention import attention_loss, with_attention
from medfusion_jupyter.training.fixed_features import inputs_of
from medfusion_jupyter.training.objective import Loss


class Step:
    """The gradients of batches, and the update that they make together.

    forward: the model, or what torch.compile made of it; mixed_loss: where batches come mixed; clip: largest norm of the
    gradients, or None; attention: weight of the attention that lies outside the masks.
    """

    def __init__(
        self,
        model: FusionModel,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        *,
        mixed_loss: Callable[..., Tensor] | None = None,
        autocast: AbstractContextManager[Any],
        scaler: torch.amp.GradScaler | None = None,
        clip: float | None = None,
        compiled: bool = False,
        channels_last: bool = False,
        attention: float = 0.0,
    ) -> None:
        self.forward: Callable[..., Tensor] = torch.compile(model) if compiled else model
        self.optimizer = optimizer
        self.loss = loss
        self.mixed_loss = mixed_loss
        self.autocast = autocast
        self.scaler = scaler
        self.clip = clip
        self.channels_last = channels_last
        self.parameters = list(model.parameters())
        self.attention = attention
        self.model = model
        self._plain = scaler is None and clip is None

    def backward(
        self, batch: Batch, share: float | None = None, mixed_with: tuple[Tensor, float] | None = None
    ) -> Tensor:
        """Add the gradients of a batch and give its mean loss `()`, still on the device.

        share: what the batch counts in its step, None for all; mixed_with: the partners' targets and the share of the own.
        """
        if self.channels_last:
            images = (image.contiguous(memory_format=channels_last(image.ndim)) for image in batch.images)
            batch = replace(batch, images=tuple(images))
        assert batch.target is not None
        with self.autocast:
            if self.attention:
                assert batch.mask is not None
                outputs, attention = with_attention(self.model, batch)
                loss = self.loss(outputs, batch.target) + self.attention * attention_loss(attention, batch.mask)
            elif mixed_with is None:
                loss = self.loss(self.forward(*inputs_of(batch)), batch.target)
            else:
                assert self.mixed_loss is not None
                loss = self.mixed_loss(self.forward(*inputs_of(batch)), batch.target, *mixed_with)
            if share is not None:
                loss = loss * share
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def update(self) -> None:
        """Change the weights by the gradients that were added, and forget these."""
        if self._plain:
            self.optimizer.step()
        else:
            self._clipped_and_scaled()
        for parameter in self.parameters:  # as optimizer.zero_grad does, without its profiling hooks
            parameter.grad = None

    def _clipped_and_scaled(self) -> None:
        if self.clip is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()


def channels_last(dimensions: int) -> torch.memory_format:
    """The format with channels innermost, of `(B, C, H, W)` and of `(B, C, D, H, W)`."""
    return torch.channels_last if dimensions == 4 else torch.channels_last_3d
