"""Layers of TripoSG's transformers, under the released names: attention with its packed heads, and the MLP.

Source: Li et al. 2025, "TripoSG: High-Fidelity 3D Shape Synthesis using Large-Scale Rectified Flow Models".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.networks.half_precision import FloatNorm, StaysFloat32
from gen3dexport.networks.packed_heads import attend, by_head, by_layer

EPS = 1e-5


class HeadNorm(StaysFloat32, nn.Module):
    """Root-mean-square norm of each head's channels, in float32, cast back to the incoming dtype."""

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_width))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6) * self.weight).to(x.dtype)


class Attention(nn.Module):
    """Multi-head attention of tokens [B, T, W] over a context [B, L, C].

    The released matrices were trained with the rows of q, k and v (of k and v where the context is another) one after
    the other, cut into heads first and into q, k and v inside each head. `unpack` puts them in order, once; before
    that the module only holds them.
    """

    def __init__(
        self, width: int, context_width: int, heads: int, *, cross: bool, head_norms: bool, context_norm: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.cross, self.unpacked = heads, cross, False
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.norm_q = HeadNorm(width // heads) if head_norms else nn.Identity()
        self.norm_k = HeadNorm(width // heads) if head_norms else nn.Identity()
        self.norm_cross = FloatNorm(context_width, eps=EPS) if context_norm else nn.Identity()

    def unpack(self) -> None:
        """Put the matrices' rows in order: those of each layer by head."""
        if not self.unpacked:
            layers = (self.to_k, self.to_v) if self.cross else (self.to_q, self.to_k, self.to_v)
            ordered = by_layer([layer.weight.detach() for layer in layers], self.heads)
            for layer, rows in zip(layers, ordered, strict=True):
                layer.weight = nn.Parameter(rows, requires_grad=False)
        self.unpacked = True

    def queries(self, x: Tensor) -> Tensor:
        """Queries [B, H, T, d] of tokens."""
        return self.norm_q(by_head(self.to_q(x), self.heads))  # type: ignore[no-any-return]

    def keys_and_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each [B, H, L, d], of a context."""
        assert self.unpacked, "unpack() comes before the first call"
        context = self.norm_cross(context)
        return self.norm_k(by_head(self.to_k(context), self.heads)), by_head(self.to_v(context), self.heads)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.to_out[0](attend(self.queries(x), *self.keys_and_values(context)))  # type: ignore[no-any-return]


class Inner(nn.Module):
    """A linear layer and GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    """A layer of four times the width, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"0": Inner(width, 4 * width), "2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        return self.net["2"](self.net["0"](x))  # type: ignore[no-any-return]


class SelfBlock(nn.Module):
    """Self-attention and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm3 = FloatNorm(width, eps=EPS), FloatNorm(width, eps=EPS)
        self.attn1 = Attention(width, width, heads, cross=False, head_norms=False)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class CrossBlock(nn.Module):
    """Attention over a context, which has a norm of its own, and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm2, self.norm3 = FloatNorm(width, eps=EPS), FloatNorm(width, eps=EPS)
        self.attn2 = Attention(width, width, heads, cross=True, head_norms=False, context_norm=True)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


def unpack(module: nn.Module) -> None:
    """Put the matrices of every attention inside `module` in order."""
    for part in module.modules():
        if isinstance(part, Attention):
            part.unpack()
