"""Training only: the package's sparse layers with backward passes that gather instead of scattering.

A scatter of rows is what a CPU is slowest at. Every table here has an inverse that is a table too: the neighbour at the
opposite offset, a token's only slot, a cell's children. Results are those of the package's layers (tested).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dexport.models.trellis.networks import structure as networks
from gen3dexport.models.trellis.networks import window_attention
from gen3dexport.models.trellis.networks.mesh_decoder import SubdivideBlock, real_children
from gen3dexport.models.trellis.networks.sparse_layers import SparseConv3d, subdivide
from gen3dexport.models.trellis.networks.window_attention import WindowAttention
from training.trellis_mini.train_flow import plain_attention


def rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x [B, T, C] at index (T for zeros)."""
    return F.pad(x, (0, 0, 0, 1)).index_select(1, index.flatten())


def _low(x: Tensor) -> Tensor:
    return x.bfloat16() if torch.is_autocast_enabled("cpu") else x


class _Rows(torch.autograd.Function):
    """Rows at `index`; `inverse` [T, J] says where each row of x went (past the end where nowhere)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows(x, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (inverse,), grad = ctx.saved_tensors, grads[0]
        found = rows(grad, inverse)
        return found.reshape(len(grad), *inverse.shape, -1).sum(2), None, None


class _Convolution(torch.autograd.Function):
    """y[n] = sum over k of W[:, k] x[table[n, k]], W [out, K, in]; `back[n, k]` is the row whose k-th entry is n."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, table: Tensor, back: Tensor) -> Tensor:
        batch, count = x.shape[0], table.shape[0]
        columns = rows(x, table).reshape(batch * count, -1)
        ctx.save_for_backward(columns, weight, back)
        return (columns @ weight.flatten(1).mT).reshape(batch, count, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (columns, weight, back), grad = ctx.saved_tensors, grads[0].contiguous()
        batch = grad.shape[0]
        weight_grad = (grad.flatten(0, 1).mT @ columns).reshape(weight.shape)
        x_grad = None
        if ctx.needs_input_grad[0]:
            found = rows(grad, back).reshape(batch * back.shape[0], -1)
            x_grad = (found @ weight.transpose(0, 1).flatten(0, 1)).reshape(batch, back.shape[0], -1)
        return x_grad, weight_grad, None, None


def _sparse_convolution(self: SparseConv3d, x: Tensor, neighbours: Tensor) -> Tensor:
    assert self.conv is not None
    weight = _low(self.conv.weight.flatten(1, 3))
    out: Tensor = _Convolution.apply(_low(x), weight, neighbours, neighbours.flip(1))
    return out + self.conv.bias.to(out.dtype)


def _subdivide(self: SubdivideBlock, x: Tensor, real: Tensor, neighbours: Tensor, children: Tensor) -> Tensor:
    """`SubdivideBlock.forward`."""
    first: Any = self.out_layers[0]
    h, parts = _low(F.silu(self.act_layers[0](x, real))), []
    for reached, kernel in zip(first.reached.long().reshape(8, 8), first.kernels(), strict=True):
        table, back = neighbours[:, reached], neighbours[:, 26 - reached]
        parts.append(_Convolution.apply(h, _low(kernel), table, back))
    h = torch.stack(parts, 2).flatten(1, 2) + first.conv.bias.to(h.dtype)
    h = self.out_layers[3](F.silu(self.out_layers[1](h, real_children(real))), children)
    return h + subdivide(self.skip_connection(x))  # type: ignore[no-any-return]


def refine(decoder: Any, h: Tensor, neighbours: Tensor, real: Tensor) -> Tensor:
    """`SLatMeshDecoder.refine`."""
    for block in decoder.upsample:
        children = decoder.subdivided_neighbours(neighbours)
        h = _subdivide(block, h, real, neighbours, children)
        real, neighbours = real_children(real), children
    return decoder.out_layer(h.float())  # type: ignore[no-any-return]


def _windowed(self: WindowAttention, x: Tensor, slots: Tensor, mask: Tensor, place: Tensor) -> Tensor:
    batch, (bins, length) = x.shape[0], slots.shape
    qkv: Tensor = _Rows.apply(self.to_qkv(x), slots, place[:, None])
    q, k, v = qkv.reshape(batch * bins, length, 3, self.heads, -1).unbind(2)
    out = plain_attention(q, k, v, mask if batch == 1 else mask.repeat(batch, 1, 1, 1))
    back = torch.where(slots.flatten() < len(place), slots.flatten(), len(place))
    out = _Rows.apply(out.reshape(batch, bins * length, -1), place, back[:, None])
    return self.to_out(out)  # type: ignore[no-any-return]


def use_fast_gather() -> None:
    """Put these in the place of the package's for this process."""
    networks.attend = plain_attention
    vars(window_attention)["attend"] = plain_attention
    SparseConv3d.forward = _sparse_convolution  # type: ignore[method-assign]
    WindowAttention.forward = _windowed  # type: ignore[method-assign]
