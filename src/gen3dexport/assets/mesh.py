"""A triangle mesh: what it is, how it comes out of occupancy, and how alike two are.

Coordinates are the pipeline's: the unit cube [-0.5, 0.5]^3, right-handed, z up; axis 0 of a voxel grid is x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import check_shapes, not_finite
from gen3dexport.assets.file_format import FileFormat
from gen3dexport.assets.score import Scale, Score, distance, settled
from gen3dexport.errors import AccuracyError, UsageError

KIND = "mesh"
DEFAULT_CELL = 1 / 64
"""Edge of the cells where a mesh does not say it."""

SCALES = (
    Scale("f_score"),
    distance("chamfer"),
    Scale("normal_consistency"),
    Scale("depth_delta1"),
    Scale("f_score_0.5"),
    Scale("f_score_3"),
)
ROUGHNESS = 0.9
"""Of the surface in files that have a material; none of it is a metal."""
VIEWS = 4
"""Views whose depths are compared."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: [V, 3] float32, z up.
        faces: [F, 3] int64 indices into `vertices`, counter-clockwise seen from outside.
        normals: [V, 3] float32 unit normals, or None: `vertex_normals` makes them.
        colors: [V, 3] uint8 RGB as displays take it (sRGB), or None.
        cell: edge of the cells that the surface came from, in edges of the unit cube, or None: what is near for scores.
    """

    kind: ClassVar[str] = "mesh"

    vertices: NDArray[np.float32]
    faces: NDArray[np.int64]
    normals: NDArray[np.float32] | None = None
    colors: NDArray[np.uint8] | None = None
    cell: float | None = None

    def __post_init__(self) -> None:
        count = len(self.vertices)
        if self.vertices.shape != (count, 3) or self.faces.ndim != 2 or self.faces.shape[1] != 3:
            shapes = f"{list(self.vertices.shape)} and {list(self.faces.shape)}"
            raise ValueError(f"vertices and faces have shapes {shapes}; need [V, 3] and [F, 3]")
        if len(self.faces) and (self.faces.min() < 0 or self.faces.max() >= count):
            raise ValueError(f"faces name vertices {self.faces.min()} to {self.faces.max()}, but there are {count}")
        optional = {"normals": self.normals, "colors": self.colors}
        check_shapes(count, **{name: (values, (3,)) for name, values in optional.items() if values is not None})

    def scaled(self, factor: float) -> Mesh:
        """Times `factor`, about the origin."""
        cell = None if self.cell is None else self.cell * factor
        return replace(self, vertices=(self.vertices * factor).astype(np.float32), cell=cell)


def _content(ending: str, mesh: Mesh, title: str) -> bytes:
    from gen3dexport.assets.mesh_files import content

    return content(mesh, ending)


def _usd(ending: str, mesh: Mesh, title: str) -> bytes:
    from gen3dexport.assets.usd import content

    return content(mesh, ending)


FILES: Mapping[str, FileFormat] = {
    ".glb": FileFormat(partial(_content, ".glb"), up="y"),
    ".obj": FileFormat(partial(_content, ".obj"), up="y"),
    ".ply": FileFormat(partial(_content, ".ply"), up="z"),
    ".stl": FileFormat(partial(_content, ".stl"), up="z", per_metre=1000),
    ".usda": FileFormat(partial(_usd, ".usda"), up="z", package="pxr", extra="usd"),
    ".usdc": FileFormat(partial(_usd, ".usdc"), up="z", package="pxr", extra="usd"),
    ".usd": FileFormat(partial(_usd, ".usd"), up="z", package="pxr", extra="usd"),
}


def _largest_part(mesh: Mesh, asked: bool) -> Mesh:
    from gen3dexport.assets.mesh_edits import largest_part

    return largest_part(mesh) if asked else mesh


def _with_faces_at_most(mesh: Mesh, count: int) -> Mesh:
    from gen3dexport.assets.mesh_edits import with_faces_at_most

    return with_faces_at_most(mesh, count)


EDITS: Mapping[str, Callable[[Mesh, Any], Mesh]] = {
    "largest_part": _largest_part,
    "max_faces": _with_faces_at_most,
    "size": Mesh.scaled,
}


def extent(mesh: Mesh) -> float:
    """The longest edge of the bounding box of what the faces use."""
    used = mesh.vertices[np.unique(mesh.faces)]
    return float((used.max(0) - used.min(0)).max())


def arrays(mesh: Mesh) -> dict[str, NDArray[Any]]:
    """`vertices` and `faces`; `normals`, `colors` and `cell` where the mesh has them."""
    found: dict[str, NDArray[Any]] = {"vertices": mesh.vertices, "faces": mesh.faces}
    found |= {n: v for n, v in (("normals", mesh.normals), ("colors", mesh.colors)) if v is not None}
    return found if mesh.cell is None else found | {"cell": np.asarray(mesh.cell, np.float64)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Mesh:
    """The mesh of its arrays."""
    cell = None if "cell" not in arrays else arrays["cell"].item()
    return Mesh(arrays["vertices"], arrays["faces"], arrays.get("normals"), arrays.get("colors"), cell)


def problem(mesh: Mesh) -> str | None:
    """No triangles, or numbers that are not finite."""
    return not_finite(arrays(mesh)) or (None if len(mesh.faces) else "it has no triangles")


def counts(mesh: Mesh) -> dict[str, int]:
    """Vertices and faces."""
    return {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}


def picture(mesh: Mesh) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the mesh."""
    from gen3dexport.assets.draw.render import turntable

    return turntable(mesh)


def scores(mesh: Mesh, reference: Mesh) -> tuple[Score, ...]:
    """The F-score at 1.5 cells, Chamfer distance in edges of the unit cube, consistency of normals, the share of depths
    that agree over four views, and the F-scores at 0.5 and 3 cells (see `metrics`)."""
    from gen3dexport.assets.draw.render import around, depth_map
    from gen3dexport.assets.metrics import depth_delta1, surface_quality

    pair = (mesh, reference)
    known = settled(SCALES, [not len(m.faces) for m in pair], [not_finite(arrays(m)) is None for m in pair])
    if known is not None:
        return known
    found = surface_quality(mesh, reference, reference.cell or mesh.cell or DEFAULT_CELL)
    depths, others = ([depth_map(m, azimuth) for azimuth in around(VIEWS)] for m in pair)
    near = dict(found.f_scores)
    values = (near[1.5], found.chamfer, found.normal_consistency, depth_delta1(depths, others), near[0.5], near[3.0])
    return tuple(scale(value) for scale, value in zip(SCALES, values, strict=True))


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
