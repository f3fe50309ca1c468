"""What the mesh decoder's features mean: distances, deformation, weights and colours of small cubes. No torch."""

from __future__ import annotations

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
    """

    index: Index
    values: Array


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
    values = np.asarray(features, np.float64)
    sdf = values[:, :8, None] - 1 / resolution
    parts = [sdf, values[:, 8:32].reshape(-1, 8, 3)]
    if values.shape[1] > 53:
        parts.append(values[:, 53:].reshape(-1, 8, 6))
    side = resolution + 1
    flat = ((coords[:, None].astype(np.int64) + CORNERS) @ np.array([side**2, side, 1])).reshape(-1)
    index, inverse, count = np.unique(flat, return_inverse=True, return_counts=True)
    pairs = np.concatenate(parts, -1).reshape(len(flat), -1)
    sums = [np.bincount(inverse.reshape(-1), column, len(index)) for column in pairs.T]
    return GridVertices(index, np.stack(sums, 1) / count[:, None])


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
    place = np.stack(np.unravel_index(index, (resolution,) * 3), -1)
    corners = place[:, None] + CORNERS  # [S, 8, 3]
    side = resolution + 1
    values = np.zeros((*corners.shape[:2], vertices.values.shape[1]))
    flat = corners @ np.array([side**2, side, 1])
    values[..., 0] = _OUTSIDE if filled is None else np.where(filled[flat], _INSIDE, _OUTSIDE)
    _look_up(values, flat, vertices.index, vertices.values)
    weights = np.zeros((len(index), 21))
    own = (coords.astype(np.int64) @ np.array([resolution**2, resolution, 1])).reshape(-1)
    order = np.argsort(own)
    _look_up(weights, index, own[order], np.asarray(features[order, 32:53], np.float64))
    found = Cubes(
        index=index,
        resolution=resolution,
        sdf=values[..., 0],
        positions=corners / resolution - 0.5 + (1 - 1e-8) / (2 * resolution) * np.tanh(values[..., 1:4]),
        attributes=_sigmoid(values[..., 4:]),
        beta=0.99 * np.tanh(weights[:, :12]) + 1,
        alpha=0.99 * np.tanh(weights[:, 12:20]) + 1,
        gamma=0.99 * _sigmoid(weights[:, 20]) + 0.005,
    )
    return _kept(found, surface(found))


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
    place = np.stack(np.unravel_index(vertices, (resolution + 1,) * 3), -1)[:, None] - CORNERS
    within = ((place >= 0) & (place < resolution)).all(-1)
    return np.unique(place[within] @ np.array([resolution**2, resolution, 1]))


def _look_up(into: Array, wanted: Index, index: Index, values: Array) -> None:
    """Write the values of those `wanted` that are in the ascending `index`; leave the others."""
    if not len(index):
        return
    at = np.minimum(np.searchsorted(index, wanted), len(index) - 1)
    there = index[at] == wanted
    into[there] = values[at[there]]


def _kept(cubes: Cubes, which: NDArray[np.bool_]) -> Cubes:
    return Cubes(
        index=cubes.index[which],
        resolution=cubes.resolution,
        sdf=cubes.sdf[which],
        positions=cubes.positions[which],
        attributes=cubes.attributes[which],
        beta=cubes.beta[which],
        alpha=cubes.alpha[which],
        gamma=cubes.gamma[which],
    )


def _sigmoid(x: Array) -> Array:
    result: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return result
