"""Nearest-neighbour enlarging by a whole number as a transposed convolution, which XNNPACK takes.

Left to ExecuTorch's own kernel each one ends a delegate, and the map is copied from one memory layout to the other and
back. The kernel has a one where channels agree: products with its zeros change nothing of finite numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from gen3dexport.backends.executorch.sites import Rule, Site

aten = torch.ops.aten
_WIDEST = 256
"""Channels up to which the products with zeros cost less than what they save."""


def constants(node: fx.Node) -> dict[str, Tensor]:
    """The kernel [C, C, k, k] of one enlarging."""
    factor = _factor(node)
    if factor is None:
        return {}
    source = node.args[0]
    assert isinstance(source, fx.Node)
    width = source.meta["val"].shape[1]
    return {_name(width, factor): torch.eye(width)[:, :, None, None].repeat(1, 1, factor, factor)}


def nearest(site: Site, x: Tensor, size: Sequence[int] | None, factors: Sequence[float] | None = None) -> Any:
    """Every pixel of x [B, C, H, W] k by k times."""
    factor = _factor(site.node)
    if factor is None:
        return NotImplemented
    return F.conv_transpose2d(x, site.constants[_name(x.shape[1], factor)], stride=factor)


def _name(width: int, factor: int) -> str:
    return f"nearest_{width}_{factor}"


def _factor(node: fx.Node) -> int | None:
    """The whole number by which both edges grow; None where there is none, or the map is not for this rule."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    taken, given = source.meta["val"], node.meta["val"]
    if taken.dtype != torch.float32 or taken.shape[1] > _WIDEST:
        return None
    (h, w), (rows, columns) = (int(n) for n in taken.shape[2:]), (int(n) for n in given.shape[2:])
    factor = rows // h
    return factor if factor > 1 and (rows, columns) == (factor * h, factor * w) else None


RULES: dict[object, Rule] = {aten.upsample_nearest2d.vec: nearest}
