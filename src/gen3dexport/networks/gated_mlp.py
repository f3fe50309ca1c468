"""The gated feed-forward layer of the diffusers library's transformers, in its key layout."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class GatedGelu(nn.Module):
    """A linear layer to twice the width, the second half of which gates the first (GEGLU, Shazeer 2020)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """A gated layer of four times the width, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"0": GatedGelu(width, 4 * width), "2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        return self.net["2"](self.net["0"](x))  # type: ignore[no-any-return]
