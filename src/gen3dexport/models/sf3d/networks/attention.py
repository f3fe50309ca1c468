"""Multi-head attention from separate query, key and value rows."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention of queries [B, T, C] over keys and values [B, L, C], heads as slices of C, as [B, T, C]."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))  # type: ignore[no-untyped-call]
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
