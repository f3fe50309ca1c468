"""Norms and averages over the last axis as products with a constant vector, which XNNPACK takes.

A layer norm left to ExecuTorch's kernel splits a transformer block into several delegates, and the kernel is wrong in
half precision (relative error 0.4 to 2.8); here every norm is computed in float32 and cast back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from gen3dexport.backends.executorch.sites import Rule, Site

aten = torch.ops.aten


def constants(node: fx.Node) -> dict[str, Tensor]:
    """The averaging and summing vectors [1, C] for an operator over the last C numbers."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    shape = list(source.meta["val"].shape)
    if node.target is aten.layer_norm.default:
        normalized = node.args[1]
        assert isinstance(normalized, list | tuple)
        shape = shape[len(shape) - len(normalized) :]
        shape = [math.prod(shape)]
    if not shape:
        return {}
    width = shape[-1]
    return {f"mean_{width}": torch.full((1, width), 1.0 / width), f"sum_{width}": torch.ones(1, width)}


def layer_norm(
    site: Site,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes, in float32."""
    h = x.float().flatten(x.dim() - len(normalized_shape)) if len(normalized_shape) > 1 else x.float()
    centred = h - _mean(site, h)
    h = centred * torch.rsqrt(_mean(site, centred * centred) + eps)
    h = h.reshape(x.shape)
    h = h if weight is None else h * weight.float()
    return (h if bias is None else h + bias.float()).to(x.dtype)


def rms_norm(
    site: Site, x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Any:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, in float32."""
    if len(normalized_shape) != 1:
        return NotImplemented
    h = x.float()
    h = h * torch.rsqrt(_mean(site, h * h) + (torch.finfo(x.dtype).eps if eps is None else eps))
    return (h if weight is None else h * weight.float()).to(x.dtype)


def vector_norm(
    site: Site,
    x: Tensor,
    ord: float = 2,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    """Euclidean norm over the last axis."""
    if ord != 2 or not _is_last(x, dim):
        return NotImplemented
    h = x.to(dtype or x.dtype)
    norm = torch.sqrt(_sum(site, h * h))
    return norm if keepdim else norm.squeeze(-1)


def mean(
    site: Site, x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """Average over the last axis."""
    if not _is_last(x, dim) or x.dtype != torch.float32 or dtype not in (None, torch.float32):
        return NotImplemented
    return _mean(site, x) if keepdim else _mean(site, x).squeeze(-1)


def total(
    site: Site, x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """Sum over the last axis."""
    if not _is_last(x, dim) or x.dtype != torch.float32 or dtype not in (None, torch.float32):
        return NotImplemented
    return _sum(site, x) if keepdim else _sum(site, x).squeeze(-1)


def _mean(site: Site, x: Tensor) -> Tensor:
    return F.linear(x, site.constants[f"mean_{x.shape[-1]}"])


def _sum(site: Site, x: Tensor) -> Tensor:
    return F.linear(x, site.constants[f"sum_{x.shape[-1]}"])


def _is_last(x: Tensor, dim: Sequence[int] | None) -> bool:
    return dim is not None and len(dim) == 1 and dim[0] in (-1, x.dim() - 1) and x.dim() > 1


RULES: dict[object, Rule] = {
    aten.layer_norm.default: layer_norm,
    aten.rms_norm.default: rms_norm,
    aten.linalg_vector_norm.default: vector_norm,
    aten.mean.dim: mean,
    aten.sum.dim_IntList: total,
}
