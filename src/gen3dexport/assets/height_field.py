"""A height field: the height of a surface over a square, and how alike two are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.flat_pictures import tiff
from gen3dexport.assets.mesh import FILES as MESH_FILES
from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.assets.score import Scale, Score, distance, settled

KIND = "height_field"
SCALES = (Scale("within_1pct"), distance("rmse"))


@dataclass(frozen=True, eq=False)
class HeightField:
    """Heights over a square.

    Attributes:
        heights: float32 [H, W]: z, in edges of the unit cube, over x (by column, from -0.5 to 0.5) and y (by row, from
            0.5 to -0.5, so that row 0 is the far edge of a map with north at the top).
    """

    kind: ClassVar[str] = "height_field"

    heights: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.heights.ndim != 2 or min(self.heights.shape) < 2:
            raise ValueError(f"heights have shape {list(self.heights.shape)}; need [H, W] of 2 at least")

    def mesh(self) -> Mesh:
        """Its surface, two triangles a cell, seen from above."""
        rows, columns = self.heights.shape
        y, x = np.meshgrid(np.linspace(0.5, -0.5, rows), np.linspace(-0.5, 0.5, columns), indexing="ij")
        vertices = np.stack([x, y, self.heights], -1).reshape(-1, 3).astype(np.float32)
        index = np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        faces = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], -2).reshape(-1, 3)
        return Mesh(vertices, faces, vertex_normals(vertices, faces))


def arrays(field: HeightField) -> dict[str, NDArray[Any]]:
    """`heights`."""
    return {"heights": field.heights}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> HeightField:
    """The height field of its arrays."""
    return HeightField(arrays["heights"])


def _as_mesh(format_: FileFormat) -> FileFormat:
    return replace(format_, usual=False, write=lambda field, title: format_(field.mesh(), title))


FILES: Mapping[str, FileFormat] = {
    ".npz": npz(arrays, up="z"),
    ".tiff": FileFormat(lambda field, title: tiff(field.heights)),
    **{ending: _as_mesh(format_) for ending, format_ in MESH_FILES.items()},
}


def problem(field: HeightField) -> str | None:
    """Numbers that are not finite."""
    return not_finite(arrays(field))


def counts(field: HeightField) -> dict[str, int]:
    """Width and height of the grid."""
    height, width = field.heights.shape
    return {"width": width, "height": height}


def picture(field: HeightField) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the surface."""
    from gen3dexport.assets.draw.render import turntable

    return turntable(field.mesh())


def scores(field: HeightField, reference: HeightField) -> tuple[Score, ...]:
    """The share of points whose heights differ by at most a hundredth of the reference's range, and the root mean
    square of the differences in edges of the unit cube.

    Raises:
        ValueError: when the grids differ in size.
    """
    one, other = (f.heights.astype(np.float64) for f in (field, reference))
    if one.shape != other.shape:
        raise ValueError(f"height fields differ in size: {list(one.shape)} and {list(other.shape)}")
    known = settled(SCALES, (False, False), [not_finite(arrays(f)) is None for f in (field, reference)])
    if known is not None:
        return known
    off = np.abs(one - other)
    within, rmse = SCALES
    return within((off <= 0.01 * np.ptp(other)).mean()), rmse(np.sqrt((off**2).mean()))
