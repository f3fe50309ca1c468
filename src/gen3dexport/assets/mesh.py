"""A triangle mesh: what it is, and how it comes out of occupancy.

Coordinates are the pipeline's: the unit cube [-0.5, 0.5]^3, right-handed, z up; axis 0 of a voxel grid is x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import check_shapes
from gen3dexport.assets.texture import Texture
from gen3dexport.errors import AccuracyError, UsageError


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: [V, 3] float32, z up.
        faces: [F, 3] int64 indices into `vertices`, counter-clockwise seen from outside.
        normals: [V, 3] float32 unit normals, or None: `vertex_normals` makes them.
        colors: [V, 3] uint8 RGB as displays take it (sRGB), or None.
        cell: edge of the cells that the surface came from, in edges of the unit cube, or None: what is near for scores.
        unit: metres that 1 is, where that is known.
        texture: pictures on the surface, or None. Vertices are apart where the pictures have seams; `colors` are then
            for files without pictures.
    """

    kind: ClassVar[str] = "mesh"

    vertices: NDArray[np.float32]
    faces: NDArray[np.int64]
    normals: NDArray[np.float32] | None = None
    colors: NDArray[np.uint8] | None = None
    cell: float | None = None
    unit: float | None = None
    texture: Texture | None = None

    def __post_init__(self) -> None:
        count = len(self.vertices)
        if self.vertices.shape != (count, 3) or self.faces.ndim != 2 or self.faces.shape[1] != 3:
            shapes = f"{list(self.vertices.shape)} and {list(self.faces.shape)}"
            raise ValueError(f"vertices and faces have shapes {shapes}; need [V, 3] and [F, 3]")
        if len(self.faces) and (self.faces.min() < 0 or self.faces.max() >= count):
            raise ValueError(f"faces name vertices {self.faces.min()} to {self.faces.max()}, but there are {count}")
        optional = {"normals": self.normals, "colors": self.colors}
        check_shapes(count, **{name: (values, (3,)) for name, values in optional.items() if values is not None})
        if self.texture is not None:
            check_shapes(count, uv=(self.texture.uv, (2,)))

    def scaled(self, factor: float) -> Mesh:
        """Times `factor`, about the origin."""
        cell = None if self.cell is None else self.cell * factor
        unit = None if self.unit is None else self.unit / factor
        return replace(self, vertices=(self.vertices * factor).astype(np.float32), cell=cell, unit=unit)


def from_occupancy_logits(logits: NDArray[np.floating], level: float = 0.0) -> Mesh:
    """The surface where occupancy logits cross `level` (marching cubes, Lorensen and Cline 1987).

    Args:
        logits: [R, R, R] by x, y, z; a voxel is occupied iff its logit is above `level`.
            The centre of voxel i is at (i + 0.5) / R - 0.5.
        level: the logit of the surface.

    Returns:
        A closed mesh inside [-0.5, 0.5]^3, faces outward, with normals. Occupied voxels at the border end on the cube.

    Raises:
        AccuracyError: when no voxel is occupied or a logit is not finite.
        UsageError: when `logits` is not a cube.
    """
    from skimage.measure import marching_cubes

    field = np.asarray(logits, dtype=np.float32) - np.float32(level)
    if field.ndim != 3 or len(set(field.shape)) != 1:
        raise UsageError(
            f"occupancy logits have shape {list(field.shape)}; need a cube [R, R, R] (drop batch and channel)"
        )
    if not np.isfinite(field).all():
        raise AccuracyError(
            "the decoder gave logits that are not finite, so there is no surface; "
            "build with scheme fp32 to see whether the precision is the cause"
        )
    if not (field > 0).any():
        raise AccuracyError("nothing was generated: no voxel is occupied; try another seed or another prompt")
    # A sample on the surface makes degenerate triangles, whose removal tears holes: keep samples a hair away from it.
    hair = np.float32(1e-3) * np.abs(field).max()
    field = np.where(field > 0, np.maximum(field, hair), np.minimum(field, -hair))
    # A mirrored shell closes the surface exactly on the cube's faces, half a voxel beyond the outermost centres.
    padded = np.pad(field, 1, mode="edge")
    shell = np.ones(padded.shape, dtype=bool)
    shell[1:-1, 1:-1, 1:-1] = False
    padded[shell] = -np.abs(padded[shell])
    # "ascent" is what winds the faces counter-clockwise from outside when the inside is positive and axis 0 is x.
    # Lorensen's table closes ambiguous faces the same way on both sides; Lewiner's leaves holes where logits tie.
    vertices, faces, _, _ = marching_cubes(padded, 0.0, gradient_direction="ascent", method="lorensen")
    resolution = field.shape[0]
    points = ((vertices - 0.5) / resolution - 0.5).astype(np.float32)
    triangles = faces.astype(np.int64)
    return Mesh(points, triangles, vertex_normals(points, triangles), cell=1 / resolution)


def vertex_normals(vertices: NDArray[np.float32], faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit normals [V, 3]: the adjacent faces' normals weighted by their angle at it; up where they have no area.

    Source: Thuermer and Wuethrich 1998, "Computing vertex normals from polygonal facets".
    """
    corners = vertices[faces].astype(np.float64)  # [F, 3, 3]
    ahead = _unit(np.roll(corners, -1, axis=1) - corners)
    behind = _unit(np.roll(corners, 1, axis=1) - corners)
    angles = np.arccos(np.clip((ahead * behind).sum(-1), -1, 1))
    flat = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    weighted = (angles[:, :, None] * flat[:, None]).reshape(-1, 3)
    total = [np.bincount(faces.ravel(), weights=weighted[:, axis], minlength=len(vertices)) for axis in range(3)]
    return always_unit(np.stack(total, axis=1))


def always_unit(normals: NDArray[np.floating]) -> NDArray[np.float32]:
    """`normals` [V, 3] at length 1; up (0, 0, 1) for those that have no direction, which files may not hold."""
    values = np.asarray(normals, np.float64)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    usable = np.isfinite(length) & (length > 1e-12)
    up = np.array([0.0, 0.0, 1.0])
    return np.where(usable, values / np.where(usable, length, 1.0), up).astype(np.float32)


def whole_faces(mesh: Mesh) -> NDArray[np.int64]:
    """The faces [F, 3] without seams: by vertices that are one where their places are equal."""
    if mesh.texture is None or not len(mesh.faces):
        return mesh.faces
    one = np.unique(mesh.vertices, axis=0, return_inverse=True)[1].reshape(-1)
    found: NDArray[np.int64] = one[mesh.faces].astype(np.int64)
    return found


def is_closed(faces: NDArray[np.int64]) -> bool:
    """Whether every edge has one face on either side, so that no back of a face is seen from outside."""
    if not len(faces):
        return False
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = int(faces.max()) + 1
    there, back = (np.sort(edges @ np.array(w)) for w in ((count, 1), (1, count)))
    return bool((there == back).all() and (np.diff(there) > 0).all())


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """`vectors` [..., 3] at length 1; zero vectors stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: NDArray[np.float64] = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return result
