"""The surface of a scalar field on tetrahedra, as vertices and triangles. No torch.

Source: Doi and Koide 1991, "An efficient method of triangulating equi-valued surfaces by using tetrahedral cells"; the
order of vertices and faces is that of Shen et al. 2021, "Deep Marching Tetrahedra". Cells are cut along their diagonals
(Kuhn 1960).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_EDGES = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
_POSITIVE = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], np.float64)  # a tetrahedron with det > 0


@dataclass(frozen=True, eq=False)
class Crossing:
    """A surface on tetrahedra.

    Attributes:
        vertices: [V, 3], by the sorted edges that they lie on.
        faces: [F, 3], counter-clockwise seen from within (where the level is above 0); of tetrahedra with one triangle
            first, then in pairs of those with two.
        single: how many faces are of tetrahedra with one.
    """

    vertices: Floats
    faces: Ints
    single: int


def crossing(points: Floats, level: Floats, tetrahedra: Ints) -> Crossing:
    """The surface where `level` crosses 0, linear along edges.

    Args:
        points: [N, 3]; level: [N], inside is above 0.
        tetrahedra: [T, 4] of points, all with det(p1 - p0, p2 - p0, p3 - p0) > 0.
    """
    inside = level > 0
    case = (inside[tetrahedra] << np.arange(4)).sum(1)
    mixed = (case > 0) & (case < 15)
    corners, case = tetrahedra[mixed], case[mixed]
    ends = np.sort(corners[:, _EDGES], -1)  # [T, 6, 2]
    cut = inside[ends[..., 0]] != inside[ends[..., 1]]
    key = ends[..., 0] * np.int64(len(points)) + ends[..., 1]
    edges, place = np.unique(key[cut], return_inverse=True)
    vertex = np.full(cut.shape, -1, np.int64)
    vertex[cut] = place.reshape(-1)
    a, b = np.divmod(edges, max(len(points), 1))
    at_a, at_b = level[a, None], level[b, None]
    vertices = (points[a] * at_b - points[b] * at_a) / (at_b - at_a)
    faces = []
    counts, table = _table()
    for count in (1, 2):
        chosen = counts[case] == count
        found = np.take_along_axis(vertex[chosen], table[case[chosen], : 3 * count], 1)
        faces.append(found.reshape(-1, 3))
    return Crossing(vertices.astype(np.float32), np.concatenate(faces), len(faces[0]))


@cache
def _table() -> tuple[Ints, Ints]:
    """How many triangles [16] each case has, and the edges [16, 6] that their corners lie on; bit i of a case is set
    where corner i is inside."""
    counts, table = np.zeros(16, np.int64), np.zeros((16, 6), np.int64)
    number = {frozenset(edge.tolist()): i for i, edge in enumerate(_EDGES)}
    middles = _POSITIVE[_EDGES].mean(1)
    for case in range(1, 15):
        inner = [i for i in range(4) if case >> i & 1]
        outer = [i for i in range(4) if i not in inner]
        if len(inner) == 2:
            (a, b), (c, d) = inner, outer
            loop = [number[frozenset(pair)] for pair in ((a, c), (b, c), (b, d), (a, d))]
        else:
            loop = [number[frozenset((a, c))] for a in inner for c in outer]
        one, two, three = middles[loop[:3]]
        inward = _POSITIVE[inner].mean(0) - _POSITIVE[outer].mean(0)
        if np.cross(two - one, three - one) @ inward < 0:
            loop.reverse()
        counts[case] = len(loop) - 2
        triangles = [loop[0], *loop[1:3]] + ([loop[0], *loop[2:4]] if len(loop) == 4 else [])
        table[case, : len(triangles)] = triangles
    return counts, table


@cache
def _kuhn() -> Ints:
    """Corners [6, 4, 3] of the six tetrahedra of a unit cube along its diagonal, all with det > 0."""
    found = []
    for order in permutations(range(3)):
        steps = np.eye(3, dtype=np.int64)[list(order)]
        corners = np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(steps, 0)])
        if np.linalg.det(corners[1:].astype(np.float64)) < 0:
            corners[2:] = corners[[3, 2]]
        found.append(corners)
    return np.stack(found)


def crossed_tetrahedra(inside: NDArray[np.bool_]) -> Ints:
    """The tetrahedra [T, 4] of the cells that a surface enters, by the grid's flat indices (z fastest).

    Args:
        inside: [R, R, R] by x, y, z.
    """
    size = np.array(inside.shape)
    low, high = np.ones(size - 1, bool), np.zeros(size - 1, bool)
    for i, j, k in np.ndindex(2, 2, 2):
        corner = inside[i : size[0] - 1 + i, j : size[1] - 1 + j, k : size[2] - 1 + k]
        low &= corner
        high |= corner
    cells = np.stack(np.nonzero(high & ~low), -1)
    corners = cells[:, None, None] + _kuhn()
    flat = (corners[..., 0] * size[1] + corners[..., 1]) * size[2] + corners[..., 2]
    found: Ints = flat.reshape(-1, 4).astype(np.int64)
    return found
