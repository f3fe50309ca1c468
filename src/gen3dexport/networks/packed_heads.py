"""Attention by heads, and matrices that were cut into heads before they were cut into queries, keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def by_head(x: Tensor, heads: int) -> Tensor:
    """[B, T, H d] -> [B, H, T, d]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # type: ignore[no-any-return, no-untyped-call]


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention of queries, keys and values by head, as [B, T, H d]."""
    return F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)


def by_layer(packed: Sequence[Tensor], heads: int) -> list[Tensor]:
    """Rows of n matrices [W, C] that were cut into heads before they were cut into layers, by layer.

    The n W rows are, in order: of head 0 those of the first matrix, of the second, ...; of head 1; ...
    """
    rows = torch.cat(list(packed)).unflatten(0, (heads, len(packed), -1))  # type: ignore[no-untyped-call]
    return [rows[:, i].flatten(0, 1).contiguous() for i in range(len(packed))]
