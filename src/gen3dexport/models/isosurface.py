"""The surface of a scalar field on a grid, as vertices and triangles. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def surface(values: NDArray[np.float32], level: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vertices [V, 3] in [-0.5, 0.5]^3 and faces [F, 3] where the field crosses `level` (marching cubes).

    Faces are counter-clockwise seen from where the field is lower. The surface is open where it leaves the cube, and
    empty where nothing is above the level.

    Args:
        values: [R, R, R] by x, y, z; point i of an axis lies at i / (R - 1) - 0.5.
    """
    from skimage.measure import marching_cubes

    field = values - np.float32(level)
    if not (field > 0).any() or not (field < 0).any():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    # Lorensen's table closes ambiguous faces the same way on both sides; Lewiner's leaves holes where numbers tie.
    vertices, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="ascent", method="lorensen")
    return (vertices / (len(field) - 1) - 0.5).astype(np.float32), faces.astype(np.int64)
