"""Layers on voxel features: sparse convolutions, norms and resampling as gathers by index tables.

Features are [B, T, C]; all items of a batch have the same voxels (the two branches of guidance). Tables come from
`voxel_tables`; an index T reads a row of zeros. State-dict keys are those of the released checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.trellis.host.voxel_tables import GATHERED_OFFSETS, NeighbourGather, subdivision_columns
from gen3dexport.models.trellis.networks.structure import set_linear_dtype, unflatten
from gen3dexport.networks.linear_layers import linear_of


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x [B, T, C] at index [...] (int32, T for a row of zeros), as [B, index.numel(), C]."""
    return F.pad(x, (0, 0, 0, 1)).index_select(1, index.flatten())


class _Kernel(nn.Module):
    """Weight and bias of a sparse convolution under the released keys."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_channels * size**3)
        self.weight = nn.Parameter(torch.empty(out_channels, size, size, size, in_channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound))


class SparseConv3d(nn.Module):
    """Submanifold convolution, kernel 3: y[n] = b + sum over the 27 offsets of W[:, k] x[neighbour k of n].

    Attributes:
        gather: "all-at-once" is one matrix product over [T, 27 C], which it holds in memory; the others add up products
            over the offsets of a plane, a line or one offset, which hold 9, 3 and 1 times [T, C].
        products: the weight as linear layers, one for each part (see `fold_convolutions`); None in the released form.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv: _Kernel | None = _Kernel(in_channels, out_channels, 3)
        self.gather: NeighbourGather = "all-at-once"
        self.products: nn.ModuleList | None = None

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """x [B, T, C], neighbours [T, 27] -> [B, T, out]."""
        products: Sequence[Callable[[Tensor], Tensor]] = [*(self.products or self._products())]
        first, *others = products
        x, width = F.pad(x, (0, 0, 0, 1)), GATHERED_OFFSETS[self.gather]
        out = first(_rows(x, neighbours[:, :width] if others else neighbours))
        for part, product in enumerate(others, 1):
            out = out + product(_rows(x, neighbours[:, part * width : (part + 1) * width] + _after(out)))
        return out

    def fold(self) -> None:
        """Into linear layers, in the present way of gathering."""
        weight, bias = self._weight()
        parts = torch.split(weight, GATHERED_OFFSETS[self.gather], 1)
        self.products = nn.ModuleList(linear_of(part.flatten(1), None if k else bias) for k, part in enumerate(parts))
        self.conv = None

    def _products(self) -> list[Callable[[Tensor], Tensor]]:
        weight, bias = self._weight()
        parts = torch.split(weight, GATHERED_OFFSETS[self.gather], 1)
        return [partial(F.linear, weight=part.flatten(1), bias=None if k else bias) for k, part in enumerate(parts)]

    def _weight(self) -> tuple[Tensor, Tensor]:
        """[out, 27, in] and [out], from whichever form there is."""
        if self.conv is not None:
            return self.conv.weight.flatten(1, 3), self.conv.bias
        layers = [layer for layer in self.products or () if isinstance(layer, nn.Linear)]
        return unflatten(torch.cat([layer.weight for layer in layers], 1), 1, (27, -1)), layers[0].bias


class SubdividedConv3d(SparseConv3d):
    """The same convolution on the children of every voxel where all eight have their parent's features.

    Children are alike in it, so it gathers and multiplies on parents: each child reads 8 of the parent's 27 neighbours,
    with the sum of the kernel over the offsets that end in the same one. That is 64 products a parent, not 216.
    """

    reached: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.register_buffer("reached", torch.tensor(_reached()[0].reshape(-1), dtype=torch.int32), persistent=False)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """x [B, T, C] and neighbours [T, 27] of the parents -> [B, 8 T, out] of the children, parent-major."""
        products: Sequence[Callable[[Tensor], Tensor]] = [*(self.products or self._products())]
        x, columns, found = F.pad(x, (0, 0, 0, 1)), neighbours.index_select(1, self.reached), list[Tensor]()
        for child, product in enumerate(products):
            index = columns[:, 8 * child : 8 * child + 8]
            found.append(product(_rows(x, index + _after(found[-1]) if found else index)))
        return torch.stack(found, 2).flatten(1, 2)

    def fold(self) -> None:
        """Into eight linear layers, one for each child."""
        if self.conv is not None:
            self.products = nn.ModuleList(linear_of(part.flatten(1), self.conv.bias) for part in self.kernels())
            self.conv = None

    def kernels(self) -> list[Tensor]:
        """What each child reads of the 8 neighbours of its parent that it reaches: [out, 8, in]."""
        assert self.conv is not None
        kernel = self.conv.weight.flatten(1, 3)
        return [torch.einsum("okc,jk->ojc", kernel, torch.from_numpy(read).to(kernel)) for read in _reached()[1]]

    def _products(self) -> list[Callable[[Tensor], Tensor]]:
        assert self.conv is not None
        return [partial(F.linear, weight=part.flatten(1), bias=self.conv.bias) for part in self.kernels()]


def _reached() -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Of each child: the 8 neighbours of its parent that it reaches [8, 8], and by which offsets [8, 8, 27]."""
    columns = subdivision_columns()[0]
    reached = np.stack([np.unique(row) for row in columns])
    return reached, (columns[:, None] == reached[:, :, None]).astype(np.float32)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x [B, T + 1, C] at index [T, K], side by side: [B, T, K C]."""
    return x.index_select(1, index.flatten()).reshape(x.shape[0], index.shape[0], -1)


def _after(x: Tensor) -> Tensor:
    """The integer 0, known only when x is.

    Without this dependence a backend that runs gathers apart from products (ExecuTorch's delegates) does all gathers
    first and holds them all, which is what gathering in parts is to avoid.
    """
    first = x[:, :1, :1].flatten()[:1]  # slices alone: an index would reshape all of x
    return torch.ne(first, first).to(torch.int32).clamp(max=0)  # XLA would see that a product with 0 needs no x


class PointwiseConv3d(nn.Module):
    """Sparse convolution, kernel 1, as the release's library computes it.

    The library reads the stored buffer [out, 1, 1, 1, in] as a matrix [in, out] without a transpose; the released
    weights were trained through that, so it is part of the model.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv: _Kernel | None = _Kernel(in_channels, out_channels, 1)
        self.product: nn.Linear | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.product is not None:
            return self.product(x)  # type: ignore[no-any-return]
        assert self.conv is not None
        return x @ self._matrix(self.conv) + self.conv.bias

    def fold(self) -> None:
        """Into a linear layer."""
        if self.conv is not None:
            self.product = linear_of(self._matrix(self.conv).mT, self.conv.bias)
            self.conv = None

    @staticmethod
    def _matrix(kernel: _Kernel) -> Tensor:
        """[in, out]."""
        return kernel.weight.reshape(kernel.weight.shape[4], kernel.weight.shape[0])


def fold_convolutions(module: nn.Module) -> None:
    """From the released form of the weights to the one that runs on devices: linear layers, for inference.

    Backends then see ordinary linear layers, which they delegate and quantize; keys are no longer the released ones.
    """
    for part in module.modules():
        if isinstance(part, SparseConv3d | PointwiseConv3d):
            part.fold()


class SparseGroupNorm(nn.GroupNorm):
    """Group norm over all real tokens of an item and the channels of a group, in float32, cast back."""

    def forward(self, x: Tensor, real: Tensor) -> Tensor:  # type: ignore[override]
        """x [B, T, C], real [T] (1 on real rows, 0 on padding) -> [B, T, C]."""
        rows, weight = x.float(), real[:, None]
        count = real.sum() * (self.num_channels // self.num_groups)
        centred = rows - self._of_groups((rows * weight).sum(1, keepdim=True)) / count
        variance = self._of_groups((centred * centred * weight).sum(1, keepdim=True)) / count
        return (centred * (torch.rsqrt(variance + self.eps) * self.weight) + self.bias).to(x.dtype)

    def _of_groups(self, sums: Tensor) -> Tensor:
        """Sums [B, 1, C] of channels -> those of their groups, for every channel.

        Rows are not split into groups: with a few channels a group as the last axis, a TPU pads each to 128.
        """
        groups = unflatten(sums, -1, (self.num_groups, -1))
        return groups.sum(-1, keepdim=True).expand_as(groups).flatten(2)


def downsample(x: Tensor, children: Tensor, weight: Tensor) -> Tensor:
    """Cells [B, T2, C] of voxels [B, T, C]: the sum of the children times `weight`, 1 / (n + 1)."""
    rows = unflatten(gather_rows(x, children), 1, (-1, 8))
    return rows.sum(2) * weight.to(x.dtype)


def upsample(x: Tensor, parent: Tensor) -> Tensor:
    """Voxels [B, T, C] of cells [B, T2, C]: each voxel has its cell's features."""
    return x.index_select(1, parent)


def subdivide(x: Tensor) -> Tensor:
    """Eight consecutive copies of every row: [B, T, C] -> [B, 8 T, C]."""
    return x[:, :, None].expand(-1, -1, 8, -1).flatten(1, 2)


class SubdividedNeighbours(nn.Module):
    """The neighbour table [8 T, 27] of the subdivided set, from its parents' [T, 27]."""

    columns: Tensor
    bits: Tensor

    def __init__(self) -> None:
        super().__init__()
        columns, bits = subdivision_columns()
        self.register_buffer("columns", torch.tensor(columns.reshape(-1)), persistent=False)
        self.register_buffer("bits", torch.tensor(bits), persistent=False)

    def forward(self, neighbours: Tensor) -> Tensor:
        rows = neighbours.shape[0]
        found = unflatten(neighbours.index_select(1, self.columns), 1, (8, 27)) * 8 + self.bits
        return found.clamp(max=8 * rows).flatten(0, 1)  # an absent parent is row T: its children are at or past 8 T


def set_sparse_dtype(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast linear, dense and sparse convolution parameters inside `module`; norms stay float32."""
    set_linear_dtype(module, dtype)
    for part in module.modules():
        if isinstance(part, _Kernel):
            part.to(dtype)


def set_neighbour_gather(module: nn.Module, gather: NeighbourGather) -> None:
    """How the sparse convolutions inside `module` gather; changes no result beyond rounding. Before quantization.

    Raises:
        UsageError: for an unknown way.
    """
    if gather not in GATHERED_OFFSETS:
        raise UsageError(f"neighbour_gather={gather!r}: unknown; there are {', '.join(GATHERED_OFFSETS)}")
    for part in _convolutions(module):
        part.gather = gather
        if part.products is not None:
            part.fold()


def fit_neighbour_gather(module: nn.Module, rows: int, most: int) -> None:
    """Let each sparse convolution inside `module`, on `rows` rows, gather as much at a time as takes `most` bytes."""
    for part in _convolutions(module):
        fitting = (way for way, count in GATHERED_OFFSETS.items() if 4 * rows * count * part.in_channels <= most)
        set_neighbour_gather(part, next(fitting, "per-offset"))


def _convolutions(module: nn.Module) -> list[SparseConv3d]:
    """Those that can gather in several ways."""
    return [part for part in module.modules() if type(part) is SparseConv3d]
