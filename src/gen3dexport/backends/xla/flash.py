"""Attention as the Pallas flash kernel for TPU, where it pays; imports JAX."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.pallas.ops.tpu import flash_attention as pallas

from gen3dexport.backends.xla.operators import einsum_attention
from gen3dexport.backends.xla.roofline import FLASH

_LANES = 128  # the kernel's smallest block of tokens, and its multiple for wide heads


@dataclass
class FlashAttention:
    """A rule for scaled_dot_product_attention: the kernel from `min_tokens` queries and keys on, einsum below.

    Attributes:
        min_tokens: below this the score matrix is small and the kernel's padding costs more than it saves.
        used: shapes (B, H, T, L, d) of the attentions that took the kernel, in order.
    """

    min_tokens: int
    used: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(
        self,
        q: Array,
        k: Array,
        v: Array,
        attn_mask: Array | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Array:
        few = min(q.shape[-2], k.shape[-2]) < self.min_tokens
        plain = attn_mask is None and not is_causal and not dropout_p and not enable_gqa
        fits = q.ndim == 4 and q.shape[:2] == k.shape[:2] == v.shape[:2] and q.shape[-1] == v.shape[-1]
        if few or not plain or not fits:
            return einsum_attention(q, k, v, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        self.used.append((*q.shape[:3], *k.shape[2:]))
        return flash(q, k, v, 1 / math.sqrt(q.shape[-1]) if scale is None else scale)


def flash(q: Array, k: Array, v: Array, scale: float) -> Array:
    """Softmax attention of [B, H, T, d] queries over [B, H, L, d] keys without the score matrix.

    Tokens are padded to whole blocks (padded keys are masked by segment, padded queries cut off), heads wider than 128
    to a multiple of 128 with zeros, which add nothing to any score.
    """
    tokens, keys, width = q.shape[2], k.shape[2], q.shape[3]
    block_q, block_k = _block(tokens), _block(keys)
    wide = -(-width // _LANES) * _LANES if width > _LANES else width
    q = _pad(q, block_q, wide)
    k, v = _pad(k, block_k, wide), _pad(v, block_k, wide)
    segments = None
    if k.shape[2] != keys:
        own = jnp.zeros((q.shape[0], q.shape[2]), jnp.int32)
        other = jnp.broadcast_to((jnp.arange(k.shape[2]) >= keys).astype(jnp.int32), (k.shape[0], k.shape[2]))
        segments = pallas.SegmentIds(own, other)
    out = _kernel(scale, block_q, block_k)(q, k, v, segments)
    return out[:, :, :tokens, :width]


def _kernel(scale: float, block_q: int, block_k: int) -> Callable[..., Array]:
    sizes = pallas.BlockSizes(block_q=block_q, block_k_major=block_k, block_k=block_k, block_b=1)

    def attend(q: Array, k: Array, v: Array, segments: pallas.SegmentIds | None) -> Array:
        # The kernel's products are bfloat16 inside; asking for more precision there is an error in its compiler.
        with jax.default_matmul_precision("default" if q.dtype == jnp.bfloat16 else "highest"):
            return pallas.flash_attention(q, k, v, segment_ids=segments, sm_scale=scale, block_sizes=sizes)

    attend.__name__ = FLASH  # how the roofline knows the call
    kernel: Callable[..., Array] = jax.jit(attend)
    return kernel


def _block(tokens: int) -> int:
    """The largest block of 512, 256 or 128 that adds at most an eighth of padding."""
    for block in (512, 256):
        if -tokens % block <= tokens // 8:
            return block
    return _LANES


def _pad(x: Array, block: int, width: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % block), (0, width - x.shape[3])))
