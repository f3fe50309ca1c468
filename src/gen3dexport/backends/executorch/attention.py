"""Attention as two matrix products and a softmax, in chunks of queries."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gen3dexport.backends.executorch.sites import Rule, Site

_MASKED = -1e30  # finite: a row without any key must not become NaN


def attend(
    site: Site,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Softmax attention of q [..., T, d] over k [..., L, d] and v [..., L, e].

    Torch guards its decomposition against rows that are masked everywhere (`eq`, `where`, `any`), which XNNPACK does
    not take: a third of a transformer's time. Each head needs T*L scores, so `attention_chunk` queries attend at a
    time, which changes no result: a query's softmax needs no other query.
    """
    queries, keys = q.shape[-2], k.shape[-2]
    if enable_gqa and k.shape[-3] != q.shape[-3]:
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], dim=-3) for x in (k, v))
    heads, lead = math.prod(q.shape[:-2]), q.shape[:-2]
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    # The factor goes to the smaller of the two operands of the product.
    q3 = (q if factor == 1 else q * factor).reshape(heads, queries, q.shape[-1])
    k3 = k.transpose(-2, -1).expand(*lead, k.shape[-1], keys).reshape(heads, k.shape[-1], keys)
    v3 = v.expand(*lead, keys, v.shape[-1]).reshape(heads, keys, v.shape[-1])
    bias = _bias(q, queries, keys, attn_mask, is_causal)
    # Chunks of one size, or the last would be a sliver: 257 queries in chunks of 256 at most are 129 and 128.
    step = math.ceil(queries / math.ceil(queries / (site.attention_chunk or queries)))
    parts = []
    for start in range(0, queries, step):
        size = min(step, queries - start)
        scores = torch.bmm(q3.narrow(1, start, size) if size < queries else q3, k3)
        if bias is not None:
            rows = bias.narrow(-2, start, size) if bias.shape[-2] == queries and size < queries else bias
            scores = (scores.reshape(*lead, size, keys) + rows).reshape(heads, size, keys)
        parts.append(torch.bmm(torch.softmax(scores, -1), v3))
    return (torch.cat(parts, 1) if len(parts) > 1 else parts[0]).reshape(*lead, queries, v.shape[-1])


def _bias(q: Tensor, queries: int, keys: int, mask: Tensor | None, is_causal: bool) -> Tensor | None:
    """What is added to the scores [..., T, L], if anything."""
    if is_causal:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        return torch.logical_not(mask).to(q.dtype) * _MASKED
    return mask


RULES: dict[object, Rule] = {torch.ops.aten.scaled_dot_product_attention.default: attend}
