"""The 256 cases of a cube with corners inside and outside: which crossing edges share a dual vertex. No torch.

Corner k is at (k & 1, k >> 1 & 1, k >> 2 & 1); bit k of a case says that corner k is inside. The tables are made from
rules (Nielson 2004, "Dual Marching Cubes"; Shen et al. 2023, "FlexiCubes"), not copied.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

# Edges as (a, b) corners, in the order of the decoder's weights; the y-edges 8 to 11 run from high to low y.
EDGES = ((0, 1), (1, 5), (4, 5), (0, 4), (2, 3), (3, 7), (6, 7), (2, 6), (2, 0), (3, 1), (7, 5), (6, 4))
CORNERS = np.array([(k & 1, k >> 1 & 1, k >> 2 & 1) for k in range(8)], np.int64)
# The six faces: axis, side (0 low, 1 high) and corners.
_FACES = [(axis, side, [k for k in range(8) if (k >> axis & 1) == side]) for axis in range(3) for side in range(2)]


@cache
def edge_groups() -> NDArray[np.int64]:
    """[256, 12]: the group of each edge in each case, numbered by lowest edge; -1 where the edge is not crossed."""
    table = np.full((256, 12), -1, np.int64)
    for case in range(256):
        for number, group in enumerate(_groups(case)):
            table[case, group] = number
    return table


@cache
def group_counts() -> NDArray[np.int64]:
    """[256]: dual vertices of each case, 0 to 4."""
    result: NDArray[np.int64] = edge_groups().max(axis=1) + 1
    return result


@cache
def ambiguity() -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Flagged cases [256] and their directions [256, 3]: exactly one ambiguous face and one group.

    The direction is the outward normal of that face, where a neighbour that is flagged too makes the case invert.
    """
    flagged, direction = np.zeros(256, bool), np.zeros((256, 3), np.int64)
    for case in range(256):
        faces = [(axis, side) for axis, side, corners in _FACES if len(_crossed(case, corners)) == 4]
        if len(faces) == 1 and group_counts()[case] == 1:
            (axis, side) = faces[0]
            flagged[case], direction[case, axis] = True, 2 * side - 1
    return flagged, direction


def _crossed(case: int, corners: list[int]) -> list[int]:
    """Crossing edges of a face."""
    return [e for e, (a, b) in enumerate(EDGES) if a in corners and b in corners and _differ(case, a, b)]


def _differ(case: int, a: int, b: int) -> bool:
    return (case >> a & 1) != (case >> b & 1)


def _groups(case: int) -> list[list[int]]:
    """Crossing edges joined across faces; inside corners of an ambiguous face are cut off separately."""
    parent = {e: e for e, (a, b) in enumerate(EDGES) if _differ(case, a, b)}

    def root(edge: int) -> int:
        return edge if parent[edge] == edge else root(parent[edge])

    for _, _, corners in _FACES:
        crossed = _crossed(case, corners)
        if len(crossed) == 2:
            pairs = [(crossed[0], crossed[1])]
        else:
            inside = [k for k in corners if case >> k & 1]
            pairs = [p for p in combinations(crossed, 2) if any(k in EDGES[p[0]] and k in EDGES[p[1]] for k in inside)]
        for one, other in pairs:
            low, high = sorted((root(one), root(other)))
            parent[high] = low
    roots = sorted({root(e) for e in parent})
    return [[e for e in parent if root(e) == r] for r in roots]
