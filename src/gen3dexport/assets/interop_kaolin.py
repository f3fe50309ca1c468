"""Meshes and voxels to and from Kaolin: `SurfaceMesh`, and structured point clouds (`Spc`).

Objects are read by the names of their documented attributes. Kaolin publishes no wheel on the index of packages: these
functions have not run against the package; the octree is tested by its definition.

An `Spc` is an octree breadth first, a byte for each cell that is not empty: bit 4 x + 2 y + z says whether the child on
the lower (0) or upper (1) side of each axis is there. Its cube is [-1, 1]^3, level L has 2^L cells along an edge.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.interop import Light, Up, bytes_of, fractions_of, indices, one_of, to_z_up, turned, wrong
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.voxels import Voxels
from gen3dexport.errors import MissingError, UsageError

_DEEPEST = 10
_CHILD = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
"""Sides along x, y and z of the child of each bit."""


def from_kaolin(found: Any, up: Up = "y", light: Light = "srgb", index: int | None = None) -> Mesh | Voxels:
    """A `SurfaceMesh` that is not batched, or one octree of an `Spc` as voxels.

    Args:
        index: of the octree, where there are several.

    Raises:
        UsageError: for another object, a batch, or a damaged octree.
    """
    if hasattr(found, "octrees") and hasattr(found, "lengths"):
        lengths = np.asarray(on_host(found.lengths)).astype(np.int64)
        at = one_of(list(lengths), index, "from_kaolin")
        start = int(lengths[:at].sum())
        octree = np.asarray(on_host(found.octrees)).astype(np.uint8)[start : start + int(lengths[at])]
        return Voxels(_turned_grid(occupancy_of(octree), to_z_up(up)))
    if not hasattr(found, "vertices") or not hasattr(found, "faces"):
        raise wrong(found, "from_kaolin", "kaolin.rep.SurfaceMesh or Spc")
    if getattr(found.vertices, "ndim", 2) != 2:
        raise UsageError("from_kaolin: the mesh is a batch; give one of it (mesh.getattr_batching, or index it first)")
    colors = getattr(found, "vertex_colors", None)
    shades = None if colors is None else bytes_of(colors, light)
    return Mesh(turned(found.vertices, to_z_up(up)), indices(found.faces), colors=shades)


def to_kaolin(asset: Mesh | Voxels, up: Up = "y", light: Light = "srgb") -> Any:
    """A `SurfaceMesh`, or an `Spc` of one octree.

    Raises:
        UsageError: for an asset of another kind, or a grid whose edge is no power of 2. MissingError: without Kaolin.
    """
    if not isinstance(asset, Mesh | Voxels):
        raise wrong(asset, "to_kaolin", "a Mesh or Voxels")
    frame = to_z_up(up).T
    octree = octree_of(_turned_grid(asset.occupancy, frame)) if isinstance(asset, Voxels) else None
    try:
        rep, torch = import_module("kaolin.rep"), import_module("torch")
    except ImportError as error:
        raise MissingError(
            f"kaolin cannot be imported ({error}); it has no wheel for this torch: build it from its source"
        ) from error
    if octree is not None:
        return rep.Spc(torch.from_numpy(octree), torch.tensor([len(octree)], dtype=torch.int32))
    assert isinstance(asset, Mesh)
    colors = None if asset.colors is None else torch.from_numpy(fractions_of(asset.colors, light).astype(np.float32))
    vertices = torch.from_numpy(turned(asset.vertices, frame))
    return rep.SurfaceMesh(vertices=vertices, faces=torch.from_numpy(asset.faces), vertex_colors=colors)


def occupancy_of(octree: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Cells [R, R, R] of the deepest level by x, y, z.

    Raises:
        UsageError: when the bytes are no octree.
    """
    cells, used, level = np.zeros((1, 3), np.int64), 0, 0
    while used < len(octree):
        bits = octree[used : used + len(cells)]
        if len(bits) < len(cells) or not bits.all() or level == _DEEPEST:
            raise UsageError(f"from_kaolin: no octree of at most {_DEEPEST} levels: level {level} does not fit")
        parents, children = np.nonzero(np.unpackbits(bits[:, None], axis=1, bitorder="little"))
        used, level = used + len(cells), level + 1
        cells = 2 * cells[parents] + _CHILD[children]
    if not level:
        raise UsageError("from_kaolin: the octree is empty")
    grid = np.zeros(3 * (2**level,), bool)
    grid[tuple(cells.T)] = True
    return grid


def octree_of(occupancy: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The bytes of an octree whose deepest level is this grid.

    Raises:
        UsageError: when the edge is no power of 2 from 2 on, or no cell is there.
    """
    edge = len(occupancy)
    level = edge.bit_length() - 1
    if edge != 2**level or not 1 <= level <= _DEEPEST:
        raise UsageError(f"to_kaolin: {edge} voxels along an edge; an octree has 2, 4, 8, ... {2**_DEEPEST}")
    if not occupancy.any():
        raise UsageError("to_kaolin: no voxel is occupied")
    levels, cells = [], np.argwhere(occupancy)
    for _ in range(level):
        parents, of_cell = np.unique(cells >> 1, axis=0, return_inverse=True)
        bits = np.zeros(len(parents), np.int64)
        np.bitwise_or.at(bits, of_cell.ravel(), 1 << ((cells & 1) @ np.array([4, 2, 1])))
        # Cells of a level stand in the order of their parents, and of their bits there: Morton order.
        order = np.argsort(_morton(parents), kind="stable")
        levels.append(bits[order].astype(np.uint8))
        cells = parents
    return np.concatenate(levels[::-1])


def _morton(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bits of x, y and z in turns, z the lowest."""
    found = np.zeros(len(cells), np.int64)
    for bit in range(_DEEPEST):
        found |= (((cells >> bit) & 1) @ np.array([4, 2, 1])) << (3 * bit)
    return found


def _turned_grid(grid: NDArray[np.bool_], frame: NDArray[np.float64]) -> NDArray[np.bool_]:
    """A grid after a rotation by quarter turns."""
    axes = np.abs(frame).argmax(1)
    found = grid.transpose(tuple(axes))
    flipped = tuple(k for k in range(3) if frame[k, axes[k]] < 0)
    return np.ascontiguousarray(np.flip(found, flipped))
