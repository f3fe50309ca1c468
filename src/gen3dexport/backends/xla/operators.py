"""Lowerings for ATen operators where torchax has none or one that suits a TPU badly. Imports torch and JAX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax import Array, lax

from gen3dexport.backends.xla.int8_layer import INT8_LINEAR
from gen3dexport.backends.xla.rows import rounded
from gen3dexport.errors import ExportError

_aten = torch.ops.aten
_TILE = 8  # rows of a float32 tile
_NARROW = 8  # numbers of a table's row that are looked up one by one


def lowerings() -> dict[Any, Callable[..., Any]]:
    """This backend's lowerings by operator."""
    return {
        _aten.scaled_dot_product_attention.default: einsum_attention,
        _aten.mm.default: matmul,
        _aten.bmm.default: matmul,
        _aten.addmm.default: add_matmul,
        _aten.gelu.default: gelu,
        INT8_LINEAR: int8_linear,
        _aten.convolution.default: convolution,
        _aten.embedding.default: embedding,
        _aten._assert_tensor_metadata.default: lambda *args, **kwargs: None,  # checked at export; nothing to run
    }


def einsum_attention(
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
    """Softmax attention of [..., T, d] queries over [..., L, d] keys; scores and softmax in float32.

    Raises:
        ExportError: with dropout or grouped queries, which inference graphs here do not have.
    """
    if dropout_p or enable_gqa:
        raise ExportError("attention with dropout or grouped queries is not lowered; export in eval mode, repeat keys")
    scores = jnp.einsum("...td,...ld->...tl", q, k, preferred_element_type=jnp.float32)
    scores = scores * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    if attn_mask is not None:
        scores = jnp.where(attn_mask, scores, -jnp.inf) if attn_mask.dtype == bool else scores + attn_mask
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("...tl,...ld->...td", weights, v)


def embedding(
    table: Array, rows: Array, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Array:
    """Rows [..., F] of a table [V, F]. Rows of a few numbers are looked up column by column: as rows, each would fill a
    tile's 128 lanes."""
    if table.shape[-1] > _NARROW:
        return jnp.take(table, rows, axis=0)
    return jnp.stack([jnp.take(table[:, k], rows, mode="clip") for k in range(table.shape[-1])], -1)


def matmul(a: Array, b: Array) -> Array:
    """a @ b, summed in float32 and rounded once, as torch and the matrix unit do it."""
    return _product(a, b).astype(a.dtype)


def add_matmul(bias: Array, a: Array, b: Array, *, beta: float = 1, alpha: float = 1) -> Array:
    """beta * bias + alpha * (a @ b), summed in float32 and rounded once."""
    product = _product(a, b)
    product = product if alpha == 1 else alpha * product
    return (product + (bias if beta == 1 else beta * bias)).astype(a.dtype)


def _product(a: Array, b: Array) -> Array:
    """a @ b; few rows become a whole tile, for a product of one row XLA gives to the slower vector unit."""
    rows = a.shape[-2]
    if rows < _TILE:
        a = jnp.pad(a, [(0, 0)] * (a.ndim - 2) + [(0, _TILE - rows), (0, 0)])
    return jnp.matmul(a, b, preferred_element_type=_wide(a))[..., :rows, :]


def gelu(x: Array, *, approximate: str = "none") -> Array:
    """GELU computed in float32 and rounded once."""
    return jax.nn.gelu(x.astype(_wide(x) or x.dtype), approximate == "tanh").astype(x.dtype)


def _wide(x: Array) -> Any:
    """float32 for a half-precision array, None (as it is) for another."""
    return jnp.float32 if x.dtype in (jnp.bfloat16, jnp.float16) else None


def int8_linear(x: Array, weight: Array, scale: Array, bias: Array | None) -> Array:
    """`gen3dexport::int8_linear` of x [..., K]: rows rounded to int8, their product with weight [N, K] exact."""
    rows, scales = rounded(x)
    axes = (((x.ndim - 1,), (1,)), ((), ()))
    product = lax.dot_general(rows, weight, axes, preferred_element_type=jnp.int32).astype(jnp.float32)
    y = product * scales * scale
    return (y if bias is None else y + bias).astype(x.dtype)


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Array:
    """ATen's convolution of [B, C, ...]; three-dimensional ones run as two-dimensional ones (`_planes`)."""
    if not transposed and groups == 1 and weight.ndim == 5:
        out = _planes(x, weight, stride, padding, dilation)
    else:
        from torchax.ops.jaten import _aten_convolution  # torchax names its lowerings privately

        return _aten_convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
    return out if bias is None else out + bias.reshape(-1, 1, 1, 1)


def _planes(x: Array, weight: Array, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> Array:
    """A 3-D convolution as one 2-D convolution over planes.

    The kd planes that one output plane reads are laid side by side as channels, so [B, C, D, H, W] becomes
    [B * D', kd * C, H, W]. The compiler takes minutes over 3-D convolutions and seconds over these.
    """
    batch, channels, depth, *_ = x.shape
    out_channels, _, kd, kh, kw = weight.shape
    x = jnp.pad(x, ((0, 0), (0, 0), (padding[0], padding[0]), (0, 0), (0, 0)))
    out_depth = (depth + 2 * padding[0] - dilation[0] * (kd - 1) - 1) // stride[0] + 1
    planes = [
        lax.slice_in_dim(x, tap * dilation[0], tap * dilation[0] + stride[0] * (out_depth - 1) + 1, stride[0], 2)
        for tap in range(kd)
    ]
    stacked = jnp.moveaxis(jnp.concatenate(planes, axis=1), 2, 1)  # [B, D', kd * C, H, W]
    stacked = stacked.reshape(batch * out_depth, kd * channels, *x.shape[3:])
    kernel = jnp.moveaxis(weight, 2, 1).reshape(out_channels, kd * channels, kh, kw)
    out = lax.conv_general_dilated(
        stacked,
        kernel,
        tuple(stride[1:]),
        [(p, p) for p in padding[1:]],
        rhs_dilation=tuple(dilation[1:]),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )
    return jnp.moveaxis(out.reshape(batch, out_depth, *out.shape[1:]), 1, 2)
