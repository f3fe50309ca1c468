"""Attention whose queries and keys are normalised and turned by the places of their patches.

Source: Su et al. 2021, "RoFormer", with one half of a head's channels for the row and one for the column.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.networks.dinov2 import Attention, Block
from gen3dexport.networks.half_precision import FloatNorm
from gen3dexport.networks.linear_layers import linear_of

_BASE = 100.0  # of the frequencies


def places(grid: tuple[int, int], spread: bool) -> Tensor:
    """Row and column [1 + h * w, 2] of the tokens: the first token's is (0, 0), patches count from 1; where they are
    not `spread` all patches are at (1, 1)."""
    rows, columns = torch.meshgrid(*(torch.arange(1, n + 1) for n in grid), indexing="ij")
    patches = torch.stack([rows, columns], -1).flatten(0, 1)
    return torch.cat([torch.zeros(1, 2), (patches if spread else torch.ones_like(patches)).float()])


def angles(found: Tensor, width: int) -> Tensor:
    """Angles [T, width / 2] by which the pairs of a head's channels turn, of places [T, 2]: by the row, then column."""
    count = width // 4
    frequencies = _BASE ** (-torch.arange(count, dtype=torch.float64) / count)
    return (found.double()[:, :, None] * frequencies).flatten(1)


def pairs_apart(width: int) -> Tensor:
    """Order of a head's channels in which channel i and channel i + width / 2 are a pair.

    Released channels are in four quarters: row and its partner, column and its partner. A product of queries and keys
    is the same in any order that both have.
    """
    first, partner, second, other = torch.arange(width).chunk(4)
    return torch.cat([first, second, partner, other])


class RotaryAttention(nn.Module):
    """Self-attention of tokens [B, T, C]; query, key and value are one layer."""

    def __init__(self, released: Attention, turns: Tensor | None) -> None:
        """Takes the parts of `released`, with `q_norm` and `k_norm` where queries and keys are normalised.

        Args:
            turns: angles [T, width of a head / 2], or None where nothing is turned.
        """
        super().__init__()
        self.heads = released.heads
        self.proj = released.proj
        width = released.qkv.out_features // 3 // self.heads
        order = None if turns is None else pairs_apart(width)
        self.qkv = released.qkv if order is None else _reordered(released.qkv, self.heads, order)
        normed = hasattr(released, "q_norm")
        self.q_norm = _norm(released.get_submodule("q_norm"), order) if normed else nn.Identity()
        self.k_norm = _norm(released.get_submodule("k_norm"), order) if normed else nn.Identity()
        self.turned = turns is not None
        if turns is not None:
            for name, table in (("cosines", turns.cos()), ("sines", turns.sin())):
                self.register_buffer(name, table.float(), persistent=False)

    def _turn(self, x: Tensor) -> Tensor:
        if not self.turned:
            return x
        cosines, sines = self.get_buffer("cosines"), self.get_buffer("sines")
        one, other = x.chunk(2, -1)
        return torch.cat([one * cosines - other * sines, other * cosines + one * sines], -1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        q, k = self._turn(self.q_norm(q)), self._turn(self.k_norm(k))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class RotaryBlock(nn.Module):
    """A block of the transformer with such attention, LayerScale inside the layers before it."""

    def __init__(self, released: Block, turns: Tensor | None) -> None:
        """Takes the parts of `released`; see `RotaryAttention` for `turns`."""
        super().__init__()
        released.fold_scales()
        self.norm1, self.norm2, self.mlp = released.norm1, released.norm2, released.mlp
        self.attn = RotaryAttention(released.attn, turns)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


def _reordered(layer: nn.Linear, heads: int, order: Tensor) -> nn.Linear:
    """The layer of query, key and value with the channels of every head of query and key in another order."""
    width = len(order)
    moved = torch.cat([order + width * k for k in range(2 * heads)])
    rows = torch.cat([moved, torch.arange(2 * heads * width, 3 * heads * width)])
    rows = rows.to(layer.weight.device)
    return linear_of(layer.weight[rows], layer.bias[rows])


def _norm(norm: nn.Module, order: Tensor | None) -> FloatNorm:
    assert isinstance(norm, FloatNorm)
    if order is None:
        return norm
    order = order.to(norm.weight.device)
    with torch.device("meta"):
        made = FloatNorm(norm.normalized_shape, norm.eps)
    made.weight = nn.Parameter(norm.weight.detach()[order], requires_grad=False)
    made.bias = nn.Parameter(norm.bias.detach()[order], requires_grad=False)
    return made
