"""The surface of SF3D's field: marching tetrahedra on a grid whose points are moved. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.marching_tetrahedra import crossed_tetrahedra, crossing
from gen3dexport.models.surface_search import grid_points, sample

Floats = NDArray[np.float32]
Field = Callable[[Floats], Floats]


@dataclass(frozen=True, eq=False)
class Surface:
    """Vertices [V, 3] in [-0.5, 0.5]^3, faces [F, 3] counter-clockwise from outside, how many points found it."""

    vertices: Floats
    faces: NDArray[np.int64]
    queries: int


def moved(points: Floats, offsets: Floats, resolution: int) -> Floats:
    """Grid points [N, 3] of [0, 1]^3 moved by raw offsets [N, 3], less than a cell."""
    return (points + np.tanh(offsets) / np.float32(resolution)).astype(np.float32)


def surface(density: Field, offsets: Field, resolution: int, coarse: int, threshold: float) -> Surface:
    """Where the density crosses the threshold.

    Args:
        density: points [N, 3] of [-1, 1]^3 -> [N]; offsets: the same -> raw offsets [N, 3] of the grid's points.
        resolution: cells along an edge; coarse: cells between the points that are queried first.
    """
    field = sample(density, resolution + 1, coarse, threshold)
    tetrahedra = crossed_tetrahedra(field.values > threshold)
    used, place = np.unique(tetrahedra, return_inverse=True)
    level = (field.values.reshape(-1)[used] - np.float32(threshold)).astype(np.float32)
    points = grid_points(resolution + 1, used)
    unit = (points / 2 + np.float32(0.5)).astype(np.float32)
    unit = moved(unit, offsets(points), resolution) if len(used) else unit
    found = crossing(unit, level, place.reshape(-1, 4).astype(np.int64))
    return Surface(found.vertices - np.float32(0.5), found.faces[:, ::-1].copy(), field.queries + len(used))
