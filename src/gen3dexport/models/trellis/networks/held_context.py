"""Keys and values of the context, which no step of a sampler changes, made once by a network of their own.

A flow's cross-attentions read the same context at every step. Here their `to_kv` (and the RMS norm of the keys) move
into a `FlowContext`, and the flow takes what that gives, `context` [blocks, 2, B, L, C], in place of the condition.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dexport.models.trellis.networks.structure import CrossAttention, attend, set_linear_dtype, unflatten


class _KeysValues(nn.Module):
    """What a cross-attention does to its context: [B, L, cond] -> keys and values [2, B, L, C]."""

    def __init__(self, attention: CrossAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_kv = attention.to_kv
        self.k_rms_norm = attention.k_rms_norm

    def forward(self, context: Tensor) -> Tensor:
        keys, values = unflatten(self.to_kv(context), -1, (2, self.heads, -1)).unbind(2)
        if self.k_rms_norm is not None:
            keys = self.k_rms_norm(keys)
        return torch.stack([keys.flatten(2), values.flatten(2)])


class FlowContext(nn.Module):
    """Keys and values [blocks, 2, B, L, C], in float32, of every block of a flow for a condition [B, L, cond]."""

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.block_dtype = torch.float32
        self.blocks = nn.ModuleList(_KeysValues(attention) for attention in _attentions(flow))

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Compute in `dtype`; RMS norms stay float32."""
        self.block_dtype = dtype
        set_linear_dtype(self.blocks, dtype)

    def forward(self, cond: Tensor) -> Tensor:
        return torch.stack([block(cond.to(self.block_dtype)).float() for block in self.blocks])


class HeldCrossAttention(nn.Module):
    """A cross-attention of tokens [B, T, C] over keys and values [2, B, L, C] that are given."""

    def __init__(self, attention: CrossAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_q = attention.to_q
        self.to_out = attention.to_out
        self.q_rms_norm = attention.q_rms_norm

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q = unflatten(self.to_q(x), -1, (self.heads, -1))
        if self.q_rms_norm is not None:
            q = self.q_rms_norm(q)
        keys, values = unflatten(context, -1, (self.heads, -1)).unbind(0)
        return self.to_out(attend(q, keys, values))  # type: ignore[no-any-return]


def hold_context(flow: nn.Module) -> nn.Module:
    """`flow` (SparseStructureFlow or SLatFlow), in place, taking a `FlowContext`'s output as its condition."""
    for block, attention in zip(flow.get_submodule("blocks").children(), _attentions(flow), strict=True):
        block.cross_attn = HeldCrossAttention(attention)
    flow.held_context = True  # type: ignore[assignment]
    return flow


def _attentions(flow: nn.Module) -> list[CrossAttention]:
    found = [block.get_submodule("cross_attn") for block in flow.get_submodule("blocks").children()]
    assert all(isinstance(attention, CrossAttention) for attention in found)
    return found  # type: ignore[return-value]
