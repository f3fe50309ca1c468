"""FlexiCubes on the host: a mesh from signed distances at cube corners, with learned weights per cube. No torch.

Source: Shen et al. 2023, "Flexible Isosurface Extraction for Gradient-Based Mesh Optimization", in the form that
TRELLIS's mesh decoder uses; written from that description.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.trellis.host.cube_cases import CORNERS, EDGES, ambiguity, edge_groups, group_counts

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cubes:
    """Cubes that the surface may cross, in ascending order of their flat index.

    Attributes:
        index: [S] flat index (x R + y) R + z in a grid of R^3 cubes.
        resolution: R.
        sdf: [S, 8] signed distances at the corners, negative inside.
        positions: [S, 8, 3] of the corners.
        attributes: [S, 8, A] values to interpolate.
        beta: [S, 12] weights of the edges, alpha: [S, 8] of the corners, gamma: [S] of the cube (activated).
    """

    index: Index
    resolution: int
    sdf: Array
    positions: Array
    attributes: Array
    beta: Array
    alpha: Array
    gamma: Array


@dataclass(frozen=True, eq=False)
class DualMesh:
    """Vertices [V, 3], faces [F, 3], attributes [V, A]; empty when nothing is crossed."""

    vertices: Array
    faces: Index
    attributes: Array


def raw_cases(sdf: Array) -> Index:
    """The case [S] of each cube: bit k is set where corner k is inside (sdf < 0)."""
    result: Index = ((sdf < 0) << np.arange(8)).sum(1)
    return result


def resolve_ambiguity(cases: Index, index: Index, resolution: int) -> Index:
    """Cases with those inverted whose ambiguous face is shared with another flagged cube.

    All tests look at the cases as they came. `index` is ascending and has surface cubes only.
    """
    flagged, direction = ambiguity()
    at = np.flatnonzero(flagged[cases])
    place = np.stack(np.unravel_index(index[at], (resolution,) * 3), -1) + direction[cases[at]]
    within = ((place >= 0) & (place < resolution)).all(1)
    wanted = (place @ np.array([resolution**2, resolution, 1]))[within]
    at = at[within]
    found = np.minimum(np.searchsorted(index, wanted), len(index) - 1)
    inverted = at[(index[found] == wanted) & flagged[cases[found]]]
    result = cases.copy()
    result[inverted] = 255 - cases[inverted]
    return result


def surface(sdf: Array) -> NDArray[np.bool_]:
    """Which cubes are crossed: 1 to 7 of the corners [S, 8] inside."""
    inside = (sdf < 0).sum(1)
    result: NDArray[np.bool_] = (inside > 0) & (inside < 8)
    return result


def extract(cubes: Cubes) -> DualMesh:
    """The surface of `cubes`, all of which are crossed."""
    if not len(cubes.index):
        empty = np.zeros((0, cubes.attributes.shape[2]))
        return DualMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), empty)
    cases = resolve_ambiguity(raw_cases(cubes.sdf), cubes.index, cubes.resolution)
    cube, edge = np.nonzero(edge_groups()[cases] >= 0)  # cube-major: every crossing as its cubes see it
    vertex = _vertex_numbers(cases)[cube, edge_groups()[cases][cube, edge]]
    count = int(group_counts()[cases].sum())
    ends = np.asarray(EDGES)[edge]
    low, high = ends[:, 0], ends[:, 1]
    weight_a = cubes.sdf[cube, low] * cubes.alpha[cube, low]
    weight_b = cubes.sdf[cube, high] * cubes.alpha[cube, high]
    beta = cubes.beta[cube, edge]
    total = np.bincount(vertex, beta, count)

    def dual(values: Array) -> Array:
        if not values.shape[2]:
            return np.zeros((count, 0))
        at = values[cube, low] * weight_b[:, None] - values[cube, high] * weight_a[:, None]
        at = at / (weight_b - weight_a)[:, None] * beta[:, None]
        columns = [np.bincount(vertex, at[:, axis], count) for axis in range(values.shape[2])]
        return np.stack(columns, 1) / total[:, None]

    faces = _faces(cubes, cube, ends, vertex)
    return DualMesh(dual(cubes.positions), faces, dual(cubes.attributes))


def _vertex_numbers(cases: Index) -> Index:
    """[S, 4]: number of each cube's dual vertices: cubes with one group first, then two, three and four."""
    groups = group_counts()[cases]
    order = np.argsort(groups, kind="stable")
    start = np.zeros(len(cases), np.int64)
    start[order] = np.cumsum(groups[order]) - groups[order]
    result: Index = start[:, None] + np.arange(4)
    return result


def _faces(cubes: Cubes, cube: Index, ends: Index, vertex: Index) -> Index:
    """Two triangles for every grid edge whose four cubes are all crossed, split along the diagonal of larger gammas."""
    side = cubes.resolution + 1
    origin = np.stack(np.unravel_index(cubes.index[cube], (cubes.resolution,) * 3), -1)
    corner = (origin[:, None] + CORNERS[ends]) @ np.array([side**2, side, 1])
    _, first, crossing, seen = np.unique(
        corner[:, 0] * side**3 + corner[:, 1], return_index=True, return_inverse=True, return_counts=True
    )
    full = np.flatnonzero(seen == 4)
    quads = np.argsort(crossing.reshape(-1), kind="stable")[np.isin(np.sort(crossing.reshape(-1)), full)].reshape(-1, 4)
    outside = cubes.sdf[cube[first[full]], ends[first[full], 0]] > 0
    quads = np.concatenate([quads[outside][:, [0, 1, 3, 2]], quads[~outside][:, [2, 3, 1, 0]]])
    gamma = cubes.gamma[cube[quads]]
    corners = vertex[quads]
    even = (gamma[:, 0] * gamma[:, 2] > gamma[:, 1] * gamma[:, 3])[:, None]
    one = np.where(even, corners[:, [0, 1, 2]], corners[:, [0, 1, 3]])
    two = np.where(even, corners[:, [0, 2, 3]], corners[:, [3, 1, 2]])
    result: Index = np.stack([one, two], 1).reshape(-1, 3)
    return result
