"""What an encoder hands to a fusion: a vector, and the tokens that it was made from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Encoded(NamedTuple):
    """One modality of B rows.

    vector `(B, D)`; tokens `(B, T, D)`, or None where nobody asked for them; visible `(B, T)` bool, which tokens count, or None
    where all do. At least one token of each row is visible.
    """

    vector: Tensor
    tokens: Tensor | None = None
    visible: Tensor | None = None

    def with_absent(self, there: Tensor, stand_in: Tensor) -> Encoded:
        """The same with `stand_in` `(D,)` as vector and only token of the rows that are not `there` `(B,)`."""
        blank = stand_in.to(self.vector.dtype)
        vector = torch.where(there[:, None], self.vector, blank)
        if self.tokens is None:
            return Encoded(vector)
        tokens = torch.where(there[:, None, None], self.tokens, blank)
        first = torch.arange(tokens.shape[1], device=tokens.device) == 0
        shown = there[:, None] if self.visible is None else there[:, None] & self.visible
        return Encoded(vector, tokens, shown | (~there[:, None] & first))


def positions_as_tokens(features: Tensor) -> Tensor:
    """`(B, D, *positions) -> (B, T, D)`: each position of a feature map is a token, in row-major order."""
    return features.flatten(2).transpose(1, 2)
