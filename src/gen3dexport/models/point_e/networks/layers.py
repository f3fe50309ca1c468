"""Layers of Point-E's transformers, under the released names.

Source: Nichol et al. 2022, "Point-E: A System for Generating 3D Point Clouds from Complex Prompts".
"""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.networks.half_precision import FloatNorm
from gen3dexport.networks.packed_heads import attend, by_head


class Mlp(nn.Module):
    """A layer of four times the width, GELU, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Attention of tokens [B, T, W]; a head's q, k and v lie side by side in the rows of `c_qkv`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_qkv, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = by_head(self.c_qkv(x), self.heads).chunk(3, dim=-1)
        return self.c_proj(attend(queries, keys, values))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """The released tensors of attention over a cloud; a head's k and v lie side by side in the rows of `c_kv`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_q, self.c_kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.c_proj = nn.Linear(width, width)


class Block(nn.Module):
    """Self-attention and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn, self.mlp = SelfAttention(width, heads), Mlp(width)
        self.ln_1, self.ln_2 = FloatNorm(width), FloatNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class CrossBlock(nn.Module):
    """The released tensors of attention over a cloud, whose tokens have a norm of their own (ln_2), and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn, self.mlp = CrossAttention(width, heads), Mlp(width)
        self.ln_1, self.ln_2, self.ln_3 = FloatNorm(width), FloatNorm(width), FloatNorm(width)


class Stack(nn.Module):
    """Blocks under the release's name."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(blocks)
