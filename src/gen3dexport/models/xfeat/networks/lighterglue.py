"""LighterGlue: LightGlue (Lindenberger et al. 2023) in the width of XFeat's descriptors. Names are the published ones.

Points are not pruned between layers, which depends on the data. Keys that fill up the inputs are masked everywhere.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, LAYERS = 96, 6
_DESCRIPTOR = 64


class LighterGlue(nn.Module):
    """Logarithms of assignment [B, N + 1, M + 1] of keypoints [B, N, 2] and [B, M, 2] with descriptors [B, N, 64] and
    [B, M, 64]; the last column and row are of keypoints without a partner. Masks [B, 1, N] and [B, 1, M] are added to
    scores of keys."""

    def __init__(self, layers: int = LAYERS) -> None:
        super().__init__()
        self.input_proj = nn.Linear(_DESCRIPTOR, WIDTH)
        self.posenc = nn.ModuleDict({"Wr": nn.Linear(2, WIDTH // 2, bias=False)})
        self.transformers = nn.ModuleList(_Layer() for _ in range(layers))
        self.log_assignment = nn.ModuleList(_Assignment() for _ in range(layers))
        ends = (nn.ModuleDict({"token": nn.Sequential(nn.Linear(WIDTH, 1))}) for _ in range(layers - 1))
        self.token_confidence = nn.ModuleList(ends)  # of an early stop, which is off

    def lean(self) -> LighterGlue:
        """Itself without what its result does not need."""
        del self.token_confidence
        self.log_assignment = self.log_assignment[-1:]
        return self

    def forward(
        self, points0: Tensor, points1: Tensor, descriptors0: Tensor, descriptors1: Tensor, mask0: Tensor, mask1: Tensor
    ) -> Tensor:
        waves = [self._waves(points) for points in (points0, points1)]
        x = [self.input_proj(descriptors) for descriptors in (descriptors0, descriptors1)]
        for layer in self.transformers:
            x = layer(*x, *waves, mask0, mask1)
        return self.log_assignment[-1](*x, mask0, mask1)  # type: ignore[no-any-return]

    def _waves(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B, N, 96] of the places, each twice in a row."""
        angles = self.posenc["Wr"](points)
        return _twice(torch.cos(angles)), _twice(torch.sin(angles))


def _twice(x: Tensor) -> Tensor:
    return torch.stack([x, x], -1).flatten(-2)


class _Layer(nn.Module):
    """Attention within each picture, then across both."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = _Within()
        self.cross_attn = _Across()

    def forward(
        self,
        x0: Tensor,
        x1: Tensor,
        waves0: tuple[Tensor, Tensor],
        waves1: tuple[Tensor, Tensor],
        m0: Tensor,
        m1: Tensor,
    ) -> tuple[Tensor, Tensor]:
        x0, x1 = self.self_attn(x0, *waves0, m0), self.self_attn(x1, *waves1, m1)
        return self.cross_attn(x0, x1, m0, m1)  # type: ignore[no-any-return]


def _feed_forward() -> nn.Sequential:
    width = 2 * WIDTH
    return nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width, eps=1e-5), nn.GELU(), nn.Linear(width, WIDTH))


class _Within(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.Wqkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out_proj = nn.Linear(WIDTH, WIDTH)
        self.ffn = _feed_forward()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.Wqkv(x).unflatten(-1, (WIDTH, 3)).unbind(-1)  # interleaved: q, k, v of each channel in a row
        q, k = (t * cos + _turned(t) * sin for t in (q, k))
        message = self.out_proj(_attended(q, k, v, mask))
        return x + self.ffn(torch.cat([x, message], -1))  # type: ignore[no-any-return]


def _attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention of one head [B, N, 96] over keys [B, M, 96], with a mask [B, 1, M]."""
    q, k, v = (t[:, None] for t in (q, k, v))  # not every backend takes attention without an axis of heads
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None]).squeeze(1)


def _turned(x: Tensor) -> Tensor:
    """Each pair of channels (a, b) as (-b, a)."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)  # type: ignore[no-untyped-call]
    return torch.stack([-b, a], -1).flatten(-2)


class _Across(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_qk = nn.Linear(WIDTH, WIDTH)
        self.to_v = nn.Linear(WIDTH, WIDTH)
        self.to_out = nn.Linear(WIDTH, WIDTH)
        self.ffn = _feed_forward()

    def forward(self, x0: Tensor, x1: Tensor, mask0: Tensor, mask1: Tensor) -> tuple[Tensor, Tensor]:
        both = [(self.to_qk(x), self.to_v(x)) for x in (x0, x1)]
        (q0, v0), (q1, v1) = both
        m0 = _attended(q0, q1, v1, mask1)
        m1 = _attended(q1, q0, v0, mask0)
        return self._told(x0, m0), self._told(x1, m1)

    def _told(self, x: Tensor, message: Tensor) -> Tensor:
        return x + self.ffn(torch.cat([x, self.to_out(message)], -1))  # type: ignore[no-any-return]


class _Assignment(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matchability = nn.Linear(WIDTH, 1)
        self.final_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x0: Tensor, x1: Tensor, mask0: Tensor, mask1: Tensor) -> Tensor:
        d0, d1 = (self.final_proj(x) / WIDTH**0.25 for x in (x0, x1))
        scores = d0 @ d1.mT
        z0, z1 = self.matchability(x0), self.matchability(x1)
        alike = torch.log_softmax(scores + mask1, -1) + torch.log_softmax(scores + mask0.mT, -2)
        inner = alike + F.logsigmoid(z0) + F.logsigmoid(z1).mT
        right, below = F.logsigmoid(-z0), F.logsigmoid(-z1).mT
        corner = torch.zeros_like(right[:, :1])
        return torch.cat([torch.cat([inner, right], -1), torch.cat([below, corner], -1)], -2)
