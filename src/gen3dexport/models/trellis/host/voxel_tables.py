"""Index tables of a voxel set, padded to a budget: neighbours, and the way to the coarse grid and back. No torch.

Networks gather rows with these tables instead of hashing coordinates, so their graphs have fixed shapes. In a table
for T rows the index T means "a row of zeros": absent neighbours, absent children and padding point there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gen3dexport.errors import UsageError

Coords = NDArray[np.int32]
Index = NDArray[np.int32]

# Kernel offsets -1, 0, 1 per axis, the last axis fastest: the order of a weight [out, 3, 3, 3, in] when flattened.
OFFSETS = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(27, 3)
NeighbourGather = Literal["all-at-once", "per-plane", "per-line", "per-offset"]
GATHERED_OFFSETS: Mapping[NeighbourGather, int] = {"all-at-once": 27, "per-plane": 9, "per-line": 3, "per-offset": 1}
"""Kernel offsets whose rows a sparse convolution gathers together, by way of gathering."""
# Children of a cell, the last axis fastest.
CHILDREN = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(8, 3)


@dataclass(frozen=True)
class Coarsening:
    """The map from voxels to the occupied cells of half the resolution.

    Attributes:
        coords: [M, 3] int32, the cells in ascending lexicographic order.
        parent: [T] int32, the cell of each voxel; padded voxels have cell 0.
        children: [T2, 8] int32, the voxels of each cell, T where there are fewer.
        weight: [T2, 1] float32, 1 / (n + 1) of a cell with n voxels, as the reference averages; 0 on padding.
    """

    coords: Coords
    parent: Index
    children: Index
    weight: NDArray[np.float32]


def neighbours(coords: Coords, rows: int) -> Index:
    """Row of the voxel at each of the 27 kernel offsets of every voxel.

    Args:
        coords: [N, 3] int, all different, in any order.
        rows: T >= N.

    Returns:
        [T, 27] int32 with T where there is no voxel.

    Raises:
        UsageError: when there are more voxels than rows.
    """
    _check(len(coords), rows, "voxels")
    shifted = coords.astype(np.int64) + 1  # so that a neighbour's coordinate is never negative
    extent = int(shifted.max(initial=0)) + 2
    keys = _key(shifted, extent)
    order = np.argsort(keys)
    wanted = _key(shifted[:, None] + OFFSETS[None], extent)
    at = np.minimum(np.searchsorted(keys[order], wanted), max(len(coords) - 1, 0))
    found = order[at]
    table = np.full((rows, 27), rows, np.int32)
    table[: len(coords)] = np.where(keys[found] == wanted, found, rows)
    return table


def coarsening(coords: Coords, rows: int, coarse_rows: int) -> Coarsening:
    """The tables of sparse down-sampling by 2 and its inverse.

    Args:
        coords: [N, 3] int, all different, in any order.
        rows: T >= N.
        coarse_rows: T2 >= number of occupied cells.

    Raises:
        UsageError: when there are more voxels or cells than rows.
    """
    _check(len(coords), rows, "voxels")
    parents, inverse = np.unique(coords // 2, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    _check(len(parents), coarse_rows, "coarse cells")
    parent = np.zeros(rows, np.int32)
    parent[: len(coords)] = inverse
    counts = np.bincount(inverse, minlength=len(parents))
    order = np.argsort(inverse, kind="stable")
    rank = np.arange(len(coords)) - np.repeat(np.cumsum(counts) - counts, counts)
    children = np.full((coarse_rows, 8), rows, np.int32)
    children[inverse[order], rank] = order
    weight = np.zeros((coarse_rows, 1), np.float32)
    weight[: len(parents), 0] = 1 / (counts + 1)
    return Coarsening(parents.astype(np.int32), parent, children, weight)


def subdivided(coords: Coords) -> Coords:
    """The eight children [8N, 3] of every voxel, parent-major, the last axis fastest."""
    return (2 * coords[:, None] + CHILDREN[None]).reshape(-1, 3).astype(np.int32)


def subdivision_columns() -> tuple[Index, Index]:
    """How the neighbour table of a subdivided set follows from its parents'.

    Child o's neighbour at offset k is child `bits[o, k]` of the parent's neighbour at offset `columns[o, k]`.

    Returns:
        columns and bits, each [8, 27] int32.
    """
    reached = CHILDREN[:, None] + OFFSETS[None]  # [8, 27, 3], from -1 to 2
    step, child = reached // 2 + 1, reached % 2
    columns, bits = step @ np.array([9, 3, 1]), child @ np.array([4, 2, 1])
    return columns.astype(np.int32), bits.astype(np.int32)


def padded(values: NDArray[np.floating], rows: int) -> NDArray[np.float32]:
    """[N, C] as [1, T, C] float32, zeros below.

    Raises:
        UsageError: when there are more values than rows.
    """
    _check(len(values), rows, "voxels")
    result = np.zeros((1, rows, values.shape[1]), np.float32)
    result[0, : len(values)] = values
    return result


def real_rows(count: int, rows: int) -> NDArray[np.float32]:
    """[T] float32: 1 for the first `count` rows, 0 on padding."""
    return (np.arange(rows) < count).astype(np.float32)


def _key(coords: NDArray[np.int64], extent: int) -> NDArray[np.int64]:
    result: NDArray[np.int64] = (coords[..., 0] * extent + coords[..., 1]) * extent + coords[..., 2]
    return result


def _check(count: int, rows: int, what: str) -> None:
    if count > rows:
        raise UsageError(f"{what}: {count}, and the tables have {rows} rows; build with a budget of at least {count}")
