"""What the mesh decoder's features mean: distances, deformation, weights and colours of small cubes. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.errors import AccuracyError, UsageError
from gen3dexport.models.trellis.host.cube_cases import CORNERS
from gen3dexport.models.trellis.host.flexicubes import Cubes, DualMesh, extract, surface

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_OUTSIDE, _INSIDE = 1.0, -1.0  # signed distance where no cube touches: outside, unless it is said to be solid


@dataclass(frozen=True, eq=False)
class GridVertices:
    """Values at the grid vertices that cubes touch, in ascending order of their flat index (x (R+1) + y) (R+1) + z.

    Attributes:
        index: [V] flat index; values: [V, 4 + A] signed distance, deformation, attributes; means over touching cubes.
        places: [(R+1)^3] where each flat index is in `index`, or -1.
    """

    index: Index
    values: Array
    places: NDArray[np.int32]


def grid_vertices(features: NDArray[np.floating], coords: NDArray[np.integer], resolution: int) -> GridVertices:
    """Means over all (cube, corner) pairs that touch a vertex.

    Args:
        features: [N, 53 or 101], what the decoder gave for real rows.
        coords: [N, 3], the cubes.
        resolution: R, of the cubes' grid.

    Raises:
        UsageError: for features of another width.
    """
    if features.shape[1] not in (53, 101):
        raise UsageError(f"mesh features: {features.shape[1]} channels; the decoder gives 53, or 101 with colour")
    side = resolution + 1
    steps = np.array([side**2, side, 1], np.int32)
    flat = ((coords.astype(np.int32) @ steps)[:, None] + CORNERS.astype(np.int32) @ steps).reshape(-1)
    seen = np.zeros(side**3, bool)
    seen[flat] = True
    index = np.flatnonzero(seen)
    places = _places(index, side**3)
    at = places[flat]
    sums = [np.bincount(at, corners.ravel(), len(index)) for corners in _corner_values(features, resolution)]
    return GridVertices(index, np.stack(sums, 1) / np.bincount(at, minlength=len(index))[:, None], places)


def _corner_values(features: NDArray[np.floating], resolution: int) -> Iterator[Array]:
    """Every value of `GridVertices.values` as the cubes' corners [N, 8] have it."""
    yield features[:, :8].astype(np.float64) - 1 / resolution
    for first, width in ((8, 3), (53, 6)):
        for k in range(width if features.shape[1] > first else 0):
            yield features[:, first + k : first + 8 * width : width].astype(np.float64)


def cubes_of(
    features: NDArray[np.floating],
    coords: NDArray[np.integer],
    resolution: int,
    solid: NDArray[np.bool_] | None = None,
) -> Cubes:
    """The crossed cubes of the decoder's features; arguments as in `grid_vertices`.

    Cubes beside the decoded ones can be crossed too: their further corners count as outside, their weights as zero.
    With `solid`, [R / 4, R / 4, R / 4] cells of 4^3 cubes, those corners count as inside that lie in solid cells.
    """
    vertices = grid_vertices(features, coords, resolution)
    beside = vertices.values[:, 0] < 0
    filled = None if solid is None else _vertices_of(solid, resolution)
    if filled is not None:
        beside |= filled[vertices.index]
    index = _touching(vertices.index[beside], resolution)
    steps = np.array([(resolution + 1) ** 2, resolution + 1, 1])
    place = np.stack(np.unravel_index(index, (resolution,) * 3), -1)
    flat = (place @ steps)[:, None] + CORNERS @ steps  # [S, 8]
    at = vertices.places[flat]
    sdf = np.full(flat.shape, _OUTSIDE) if filled is None else np.where(filled[flat], _INSIDE, _OUTSIDE)
    _look_up(sdf, at, vertices.values[:, 0])
    crossed = surface(sdf)
    index, at = index[crossed], at[crossed]
    corners = place[crossed][:, None] + CORNERS  # [S, 8, 3]
    values = np.zeros((*at.shape, vertices.values.shape[1] - 1))
    _look_up(values, at, vertices.values[:, 1:])
    weights = np.zeros((len(index), 21))
    own = coords.astype(np.int64) @ np.array([resolution**2, resolution, 1])
    _look_up(weights, _places(own, resolution**3)[index], features[:, 32:53])
    return Cubes(
        index=index,
        resolution=resolution,
        sdf=sdf[crossed],
        positions=corners / resolution - 0.5 + (1 - 1e-8) / (2 * resolution) * np.tanh(values[..., :3]),
        attributes=_sigmoid(values[..., 3:]),
        beta=0.99 * np.tanh(weights[:, :12]) + 1,
        alpha=0.99 * np.tanh(weights[:, 12:20]) + 1,
        gamma=0.99 * _sigmoid(weights[:, 20]) + 0.005,
    )


def dual_mesh(
    features: NDArray[np.floating],
    coords: NDArray[np.integer],
    resolution: int,
    solid: NDArray[np.bool_] | None = None,
) -> DualMesh:
    """The surface and its attributes [V, 6] (rgb, normal; [V, 0] without colour); empty when nothing is crossed."""
    return extract(cubes_of(features, coords, resolution, solid))


def mesh_of(
    features: NDArray[np.floating],
    coords: NDArray[np.integer],
    resolution: int = 256,
    scale: float = 1,
    solid: NDArray[np.bool_] | None = None,
) -> Mesh:
    """The mesh of the decoder's features, with vertex colours where it has them; arguments as in `cubes_of`.

    `scale` is that of the voxel set (`voxel_budget.Fitted`). Where no cube is crossed, the mesh is empty.

    Raises:
        AccuracyError: when features are not finite.
    """
    if not np.isfinite(features).all():
        raise AccuracyError(
            "the mesh decoder gave features that are not finite, so there is no surface; "
            "build with scheme fp32 to see whether the precision is the cause"
        )
    dual = dual_mesh(features, coords, resolution, solid)
    if not len(dual.faces):
        return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    vertices = (dual.vertices * scale).astype(np.float32)
    colors = None
    if dual.attributes.shape[1]:
        colors = np.rint(dual.attributes[:, :3] * 255).astype(np.uint8)
    return Mesh(vertices, dual.faces, vertex_normals(vertices, dual.faces), colors)


def _vertices_of(solid: NDArray[np.bool_], resolution: int) -> NDArray[np.bool_]:
    """Which grid vertices [(R + 1)^3], flat, are inside or on a solid cell."""
    cubes = solid
    for axis in range(3):
        cubes = np.repeat(cubes, resolution // len(solid), axis=axis)
    result = np.zeros((resolution + 1,) * 3, bool)
    for x, y, z in CORNERS:
        result[x : x + resolution, y : y + resolution, z : z + resolution] |= cubes
    return result.reshape(-1)


def _touching(vertices: Index, resolution: int) -> Index:
    """Flat indices of the cubes that have one of the vertices as a corner, ascending."""
    grid = np.zeros((resolution + 1,) * 3, bool)
    grid.reshape(-1)[vertices] = True
    result = np.zeros((resolution,) * 3, bool)
    for x, y, z in CORNERS:
        result |= grid[x : x + resolution, y : y + resolution, z : z + resolution]
    return np.flatnonzero(result)


def _places(index: Index, size: int) -> NDArray[np.int32]:
    """Where each flat index below `size` is in `index`; -1 where it is not."""
    places = np.full(size, -1, np.int32)
    places[index] = np.arange(len(index), dtype=np.int32)
    return places


def _look_up(into: Array, at: NDArray[np.int32], values: NDArray[np.floating]) -> None:
    """Write the values at the places that are none of -1; leave the others."""
    there = at >= 0
    into[there] = values[at[there]]


def _sigmoid(x: Array) -> Array:
    result: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return result
