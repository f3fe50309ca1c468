"""A height field: the height of a surface over a square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.mesh import Mesh, vertex_normals


@dataclass(frozen=True, eq=False)
class HeightField:
    """Heights over a square.

    Attributes:
        heights: float32 [H, W]: z over x (by column, from -edge / 2 to edge / 2) and y (by row, from edge / 2 to
            -edge / 2, so that row 0 is the far edge of a map with north at the top).
        edge: of the square, in the unit of the heights: 1 where it is the unit cube's.
    """

    kind: ClassVar[str] = "height_field"

    heights: NDArray[np.float32]
    edge: float = 1.0

    def __post_init__(self) -> None:
        if self.heights.ndim != 2 or min(self.heights.shape) < 2:
            raise ValueError(f"heights have shape {list(self.heights.shape)}; need [H, W] of 2 at least")

    def scaled(self, factor: float) -> HeightField:
        """Times `factor`, about the origin."""
        return HeightField((self.heights * factor).astype(np.float32), self.edge * factor)

    def mesh(self) -> Mesh:
        """Its surface, two triangles a cell, seen from above."""
        rows, columns = self.heights.shape
        half = self.edge / 2
        y, x = np.meshgrid(np.linspace(half, -half, rows), np.linspace(-half, half, columns), indexing="ij")
        vertices = np.stack([x, y, self.heights], -1).reshape(-1, 3).astype(np.float32)
        index = np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        faces = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], -2).reshape(-1, 3)
        return Mesh(vertices, faces, vertex_normals(vertices, faces))
