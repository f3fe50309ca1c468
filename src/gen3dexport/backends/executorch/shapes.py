"""Splits, permutes and pointwise operators in the forms that XNNPACK takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gen3dexport.backends.executorch.sites import Rule, Site

aten = torch.ops.aten

LARGEST_PERMUTE = 5
"""Axes that ExecuTorch's permute kernel takes; XNNPACK's takes 6."""


def select(site: Site, x: Tensor, dim: int, index: int) -> Tensor:
    """x[..., index, ...] as a slice and a reshape."""
    dim, index = dim % x.dim(), index % x.shape[dim]
    return x.narrow(dim, index, 1).reshape(*x.shape[:dim], *x.shape[dim + 1 :])


def unbind(site: Site, x: Tensor, dim: int = 0) -> list[Tensor]:
    """Every index of an axis, by slices."""
    return [select(site, x, dim, i) for i in range(x.shape[dim])]


def split_with_sizes(site: Site, x: Tensor, sizes: Sequence[int], dim: int = 0) -> list[Tensor]:
    """Pieces of the given sizes along an axis, by slices."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [x.narrow(dim, start, size) for start, size in zip(starts, sizes, strict=True)]


def split(site: Site, x: Tensor, size: int, dim: int = 0) -> list[Tensor]:
    """Pieces of `size`, the last may be smaller."""
    length = x.shape[dim]
    return split_with_sizes(site, x, [min(size, length - i) for i in range(0, length, size)], dim)


def chunk(site: Site, x: Tensor, chunks: int, dim: int = 0) -> list[Tensor]:
    """At most `chunks` pieces of equal size."""
    return split(site, x, -(-x.shape[dim] // chunks), dim)


def unsqueeze(site: Site, x: Tensor, dim: int) -> Tensor:
    """One more axis, by a reshape (XNNPACK adds axes only at the end)."""
    dim %= x.dim() + 1
    return x.reshape(*x.shape[:dim], 1, *x.shape[dim:])


def permute(site: Site, x: Tensor, dims: Sequence[int]) -> Any:
    """x with its axes reordered, as a chain of permutes of at most 5 axes.

    Axes of length 1 are dropped and axes that stay neighbours are taken together; what is still too long is sorted one
    axis at a time: [done, between, axis, rest] -> [done, axis, between, rest].
    """
    order = [d % x.dim() for d in dims]
    if len(order) <= LARGEST_PERMUTE:
        return NotImplemented
    long = [a for a in range(x.dim()) if x.shape[a] != 1]
    runs: list[list[int]] = []  # of axes that stay neighbours, in the order wanted
    for axis in (long.index(d) for d in order if x.shape[d] != 1):
        if runs and axis == runs[-1][-1] + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    sizes = {run[0]: math.prod(x.shape[long[a]] for a in run) for run in runs}
    now, wanted = sorted(sizes), [run[0] for run in runs]
    h = x
    if len(wanted) <= LARGEST_PERMUTE:
        h = h.reshape([sizes[a] for a in now]).permute([now.index(a) for a in wanted])
        now = wanted
    for position, axis in enumerate(wanted):
        at = now.index(axis)
        if at != position:
            parts = [now[:position], now[position:at], [axis], now[at + 1 :]]
            h = h.reshape([math.prod(sizes[a] for a in part) for part in parts]).permute(0, 2, 1, 3)
            now = parts[0] + parts[2] + parts[1] + parts[3]
    return h.reshape([x.shape[d] for d in order])


def same_dtype(site: Site, x: Tensor, *args: object, **kwargs: object) -> Any:
    """A cast to the dtype that the tensor has."""
    return x if site.node.meta["val"].dtype == x.dtype else NotImplemented


def identity(site: Site, x: Tensor, *args: object, **kwargs: object) -> Tensor:
    """Copies and aliases say nothing in a functional graph."""
    return x


def nothing(site: Site, *args: object, **kwargs: object) -> None:
    """Checks of the capture."""


def silu(site: Site, x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return x * torch.sigmoid(x)


def clamp_min(site: Site, x: Tensor, minimum: float) -> Tensor:
    """max(x, minimum), in the form that has a delegate."""
    return torch.clamp(x, minimum, math.inf)


def gelu(site: Site, x: Tensor, *, approximate: str = "none") -> Any:
    """The tanh form by its definition, 0.5 x (1 + tanh u) = x sigmoid(2u); XNNPACK has the exact form, 3e-4 off."""
    if approximate != "tanh":
        return NotImplemented
    a = 2 * math.sqrt(2 / math.pi)
    return x * torch.sigmoid(x * (x * x * (0.044715 * a) + a))


RULES: dict[object, Rule] = {
    aten.select.int: select,
    aten.unbind.int: unbind,
    aten.split.Tensor: split,
    aten.split_with_sizes.default: split_with_sizes,
    aten.chunk.default: chunk,
    aten.unsqueeze.default: unsqueeze,
    aten.permute.default: permute,
    aten.to.dtype: same_dtype,
    aten._to_copy.default: same_dtype,
    aten.alias.default: identity,
    aten.detach.default: identity,
    aten.detach_.default: identity,
    aten.clone.default: identity,
    aten.contiguous.default: identity,
    aten.lift_fresh_copy.default: identity,
    aten._assert_tensor_metadata.default: nothing,
    aten.silu.default: silu,
    aten.clamp_min.default: clamp_min,
    aten.gelu.default: gelu,
}
