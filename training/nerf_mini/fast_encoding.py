"""A hash grid whose gradient is summed fast on a CPU: torch's own adds a table's rows one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.models.instant_ngp_nerf.networks.hash_encoding import HashEncoding


class _Blend(torch.autograd.Function):
    """Sums [P, F] of weighed rows of a table; gradients of the table alone."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """`rows`, `weights`: [P, 8]."""
        ctx.save_for_backward(rows, weights)
        ctx.size = table.shape
        columns = [(column[rows] * weights).sum(-1) for column in table.t().contiguous()]
        return torch.stack(columns, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        rows, weights = ctx.saved_tensors
        (gradient,), flat = gradients, rows.reshape(-1)
        columns = [
            torch.zeros(ctx.size[0]).scatter_add_(0, flat, (part[:, None] * weights).reshape(-1))
            for part in gradient.unbind(-1)
        ]
        return torch.stack(columns, -1), None, None


class _Fast(nn.Module):
    """The same features [..., L F] as a `HashEncoding` gives, whose table it shares."""

    def __init__(self, encoding: HashEncoding) -> None:
        super().__init__()
        self.encoding = encoding

    def forward(self, places: Tensor) -> Tensor:
        """Features at places [..., 3]."""
        with torch.no_grad():
            rows, weights = self.encoding.corners(places.reshape(-1, 3))
        levels, table = rows.shape[1], self.encoding.hash_table
        found: Tensor = _Blend.apply(table, rows.reshape(-1, 8).long(), weights.reshape(-1, 8))  # type: ignore[no-untyped-call]
        return found.reshape(*places.shape[:-1], levels * table.shape[1])


def fast(encoding: nn.Module) -> _Fast:
    """What stands for a grid while it is trained."""
    assert isinstance(encoding, HashEncoding)
    return _Fast(encoding)
