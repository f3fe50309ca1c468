"""Multi-head attention from separate query, key and value rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_SCORES = 1 << 27
"""Scores of one call, of all heads: 512 MiB in float32, where a backend keeps them. The released streams have ten times
as many."""


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention of queries [B, T, C] over keys and values [B, L, C], heads as slices of C, as [B, T, C].

    Many queries are taken in parts: each has a softmax of its own.
    """
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))  # type: ignore[no-untyped-call]
    rows = max(1, MOST_SCORES // (heads * k.shape[2]))
    parts = [F.scaled_dot_product_attention(some, k, v) for some in torch.split(q, rows, 2)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, 2)).transpose(1, 2).flatten(2)
