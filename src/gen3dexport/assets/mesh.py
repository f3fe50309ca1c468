"""3D assets: a triangle mesh, how it comes out of occupancy, and files of it.

Coordinates are the pipeline's: the unit cube [-0.5, 0.5]^3, right-handed, z up; axis 0 of a voxel grid is x.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.disk import write_atomically
from gen3dexport.errors import AccuracyError, UsageError, VerificationError

FORMATS = (".glb", ".obj", ".ply", ".stl")
# trimesh leaves normals out unless asked, by a name of each format; an STL has none per vertex.
_NORMALS = {".glb": {"include_normals": True}, ".obj": {"include_normals": True}, ".ply": {"vertex_normal": True}}
# z-up (x, y, z) -> glTF's y-up (x, z, -y): a rotation by -90 degrees about x.
_TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: [V, 3] float32, z up.
        faces: [F, 3] int64 indices into `vertices`, counter-clockwise seen from outside.
        normals: [V, 3] float32 unit normals, or None: `vertex_normals` makes them.
        colors: [V, 3] uint8 RGB, or None.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int64]
    normals: NDArray[np.float32] | None = None
    colors: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        count = len(self.vertices)
        if self.vertices.shape != (count, 3) or self.faces.ndim != 2 or self.faces.shape[1] != 3:
            shapes = f"{list(self.vertices.shape)} and {list(self.faces.shape)}"
            raise ValueError(f"vertices and faces have shapes {shapes}; need [V, 3] and [F, 3]")
        if len(self.faces) and (self.faces.min() < 0 or self.faces.max() >= count):
            raise ValueError(f"faces name vertices {self.faces.min()} to {self.faces.max()}, but there are {count}")
        for name, values in (("normals", self.normals), ("colors", self.colors)):
            if values is not None and values.shape != (count, 3):
                raise ValueError(f"{name} have shape {values.shape}; need [{count}, 3]")


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
    return Mesh(points, triangles, vertex_normals(points, triangles))


def vertex_normals(vertices: NDArray[np.float32], faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit normals [V, 3]: the adjacent faces' normals weighted by their angle at the vertex; zero at a lone vertex.

    Source: Thuermer and Wuethrich 1998, "Computing vertex normals from polygonal facets".
    """
    corners = vertices[faces].astype(np.float64)  # [F, 3, 3]
    ahead = _unit(np.roll(corners, -1, axis=1) - corners)
    behind = _unit(np.roll(corners, 1, axis=1) - corners)
    angles = np.arccos(np.clip((ahead * behind).sum(-1), -1, 1))
    flat = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    weighted = (angles[:, :, None] * flat[:, None]).reshape(-1, 3)
    total = [np.bincount(faces.ravel(), weights=weighted[:, axis], minlength=len(vertices)) for axis in range(3)]
    return _unit(np.stack(total, axis=1)).astype(np.float32)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """`vectors` [..., 3] at length 1; zero vectors stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: NDArray[np.float64] = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return result


def check_place(path: Path) -> None:
    """Refuse a place that cannot be written, before any work is done for it; makes nothing.

    Raises:
        UsageError: for a folder, a place in a file, or one without permission.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file, e.g. {path / 'asset.glb'}")
    folder = next(p for p in path.absolute().parents if p.exists())
    if not folder.is_dir():
        raise UsageError(f"{path}: cannot be written, {folder} is a file; name an output in a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: cannot be written, no permission in {folder}; name an output elsewhere")


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` to `path` in the format of its ending: .glb, .obj, .ply or .stl.

    glTF is y-up, so a .glb is rotated: (x, y, z) becomes (x, z, -y). The other formats stay z-up. Normals and colors
    are stored where the format has them. Missing parent folders are made. The file appears whole or not at all.

    Raises:
        UsageError: for an unknown ending or a place that cannot be written.
    """
    kind = format_of(path)
    scene = _to_trimesh(mesh, y_up=kind == ".glb")
    content = scene.export(file_type=kind[1:], **_NORMALS.get(kind, {}))
    write_atomically(path, content.encode() if isinstance(content, str) else content)


def read(path: Path) -> Mesh:
    """The mesh in a .glb, .obj, .ply or .stl file, z up (a .glb is rotated back from y-up), normals made anew.

    Raises:
        UsageError: when the file is missing or its ending is unknown.
        VerificationError: when it holds no readable triangles.
    """
    import trimesh

    kind = format_of(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file; generate it first, or check the path")
    try:
        loaded = trimesh.load_mesh(path, file_type=kind[1:], process=kind == ".stl")  # an STL stores no shared vertices
    except Exception as error:  # trimesh's readers raise many types; the cause is kept
        raise VerificationError(f"{path}: not a readable {kind} file ({error}); write it again") from error
    if not isinstance(loaded, trimesh.Trimesh) or not len(loaded.faces):
        raise VerificationError(f"{path}: holds no triangles; write it again")
    vertices = np.asarray(loaded.vertices, dtype=np.float32)
    faces = np.asarray(loaded.faces, dtype=np.int64)
    if kind == ".glb":
        vertices = vertices @ _TO_Y_UP
    colors = None
    if loaded.visual.kind == "vertex":
        colors = np.asarray(loaded.visual.vertex_colors, dtype=np.uint8)[:, :3]
    return Mesh(vertices, faces, vertex_normals(vertices, faces), colors)


def format_of(path: Path) -> str:
    """The ending of a mesh file, in lower case.

    Raises:
        UsageError: for an unknown one.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise UsageError(f"{path}: unknown mesh format {path.suffix!r}; known endings are {', '.join(FORMATS)}")
    return kind


def _to_trimesh(mesh: Mesh, y_up: bool) -> Any:
    import trimesh

    normals = mesh.normals if mesh.normals is not None else vertex_normals(mesh.vertices, mesh.faces)
    turn = _TO_Y_UP.T if y_up else np.eye(3, dtype=np.float32)
    return trimesh.Trimesh(
        vertices=mesh.vertices @ turn,
        faces=mesh.faces,
        vertex_normals=normals @ turn,
        vertex_colors=mesh.colors,
        process=False,
    )
