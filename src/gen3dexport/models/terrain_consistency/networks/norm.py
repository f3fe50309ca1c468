"""Group norm (Wu and He 2018) in operators that every backend has: means over the plane, a factor and a summand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPS = 1e-5


class GroupNorm(nn.Module):
    """Group norm n(x) of [B, C, H, W]; n(x) (1 + scale) + shift where a scale and a shift [B, C] are given."""

    mean: Tensor | None

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        own = channels // groups
        mean = torch.ones(own, own) / own if own > 1 else None  # of the channels of a group
        every = None if mean is None else torch.block_diag(*[mean] * groups)  # type: ignore[no-untyped-call]
        self.register_buffer("mean", every, persistent=False)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        centred = x - self._of_groups(x)
        factor = torch.rsqrt(self._of_groups(centred * centred) + _EPS) * self.weight[:, None, None]
        summand = self.bias[:, None, None]
        if scale is not None and shift is not None:
            more = 1 + scale[:, :, None, None]
            factor, summand = factor * more, summand * more + shift[:, :, None, None]
        return centred * factor + summand

    def _of_groups(self, x: Tensor) -> Tensor:
        """The mean over each group, for each of its channels: [B, C, 1, 1]."""
        found = x.mean((2, 3), keepdim=True)
        return found if self.mean is None else F.linear(found.flatten(1), self.mean)[:, :, None, None]
