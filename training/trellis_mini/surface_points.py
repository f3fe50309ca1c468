"""Where a shape's surface crosses the lattice of its cells: positions, normals and colours, to fit Gaussians to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from training.trellis_mini.cells import CELL, LATTICE, Cells, lattice_points
from training.trellis_mini.looks import Colors, Look, paint

Floats = NDArray[np.float32]

_EDGES = np.array(
    [(a, a + step) for axis, step in enumerate((25, 5, 1)) for a in range(125) if LATTICE[a, axis] < 4], np.int64
)
_PLACE = ((LATTICE - 2) / 4).astype(np.float32)  # of lattice points, in cells from the centre
_HAIR = np.float32(0.02)  # by which shapes are grown, so that parts that touch are one
_FULL = 20.0  # crossings of a surface that cuts a cell parallel to a face, those on faces shared


@dataclass(frozen=True)
class SurfacePoints:
    """Points on the surface in each of N cells.

    Attributes:
        offset: [N, K, 3] from the cell's centre, in cells; normal: [N, K, 3] outwards, unit length.
        color: [N, K, 3]; area: [N] rough area of the surface in the cell, in faces of a cell.
        there: [N] whether the cell has any; the others' values mean nothing.
    """

    offset: Floats
    normal: Floats
    color: Colors
    area: Floats
    there: NDArray[np.bool_]


def mended(cells: Cells) -> Cells:
    """The cells without walls inside: where parts touch, the union's distance is zero far below the surface.

    Shapes grow by a hair, and points inside are at least as deep as the nearest crossing of a lattice edge says.
    """
    distance = cells.distance - _HAIR
    low, high = distance[:, _EDGES[:, 0]], distance[:, _EDGES[:, 1]]
    row, edge = np.nonzero((low < 0) != (high < 0))
    if not len(row):
        return replace(cells, distance=distance)
    share = (low[row, edge] / (low[row, edge] - high[row, edge]))[:, None]
    start, stop = _PLACE[_EDGES[edge, 0]], _PLACE[_EDGES[edge, 1]]
    tree = cKDTree(cells.coords[row] + start + share * (stop - start))
    row, point = np.nonzero((distance < 0) & (distance > -0.9))
    depth = tree.query(cells.coords[row] + _PLACE[point], distance_upper_bound=1.2)[0]
    # Crossings are up to a quarter of a cell apart, so the nearest one is a little farther than the surface.
    distance[row, point] = np.minimum(distance[row, point], 0.2 - np.minimum(depth, 1))
    return replace(cells, distance=distance)


def surface_points(cells: Cells, look: Look, count: int, generator: np.random.Generator) -> SurfacePoints:
    """`count` random crossings of lattice edges in every cell; where there are fewer, some occur again."""
    distance = cells.distance
    low, high = distance[:, _EDGES[:, 0]], distance[:, _EDGES[:, 1]]
    crossed = (low < 0) != (high < 0)
    total = crossed.sum(1)
    order = np.argsort(np.where(crossed, generator.random(crossed.shape, np.float32), 2), axis=1)
    pick = np.take_along_axis(order, np.arange(count)[None] % np.maximum(total, 1)[:, None], axis=1)
    row = np.arange(len(distance))[:, None]
    low, high = low[row, pick], high[row, pick]
    share = (low / np.where(low == high, 1, low - high))[..., None]
    start, stop = _EDGES[pick, 0], _EDGES[pick, 1]
    offset = _PLACE[start] + share * (_PLACE[stop] - _PLACE[start])
    grid = distance.reshape(-1, 5, 5, 5)
    gradient = np.stack(np.gradient(grid, axis=(1, 2, 3)), -1).reshape(-1, 125, 3)
    normal = (1 - share) * gradient[row, start] + share * gradient[row, stop]
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    second = np.where(share[..., 0] < 0.5, cells.second[row, start], cells.second[row, stop])
    points = lattice_points(cells.coords, np.array([62])) + offset * np.float32(CELL)
    color = paint(look, points.reshape(-1, 3), second.reshape(-1)).reshape(offset.shape)
    area = (total / _FULL).astype(np.float32)
    return SurfacePoints(offset.astype(np.float32), normal.astype(np.float32), color, area, total > 0)
