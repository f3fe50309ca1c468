"""Files of meshes: .glb, .obj, .ply and .stl, written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.disk import write_atomically
from gen3dexport.errors import UsageError, VerificationError

FORMATS = (".glb", ".obj", ".ply", ".stl")
# trimesh leaves normals out unless asked, by a name of each format; an STL has none per vertex.
_NORMALS = {".glb": {"include_normals": True}, ".obj": {"include_normals": True}, ".ply": {"vertex_normal": True}}
# z-up (x, y, z) -> glTF's y-up (x, z, -y): a rotation by -90 degrees about x.
_TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32)


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` to `path` in the format of its ending: .glb, .obj, .ply or .stl.

    glTF is y-up, so a .glb is rotated: (x, y, z) becomes (x, z, -y). The other formats stay z-up. Normals and colors
    are stored where the format has them. Missing parent folders are made. The file appears whole or not at all.

    Raises:
        UsageError: for an unknown ending or a place that cannot be written.
    """
    write_atomically(path, content(mesh, format_of(path)))


def content(mesh: Mesh, ending: str) -> bytes:
    """The bytes of the file that `write` writes."""
    exported = _to_trimesh(mesh, y_up=ending == ".glb").export(file_type=ending[1:], **_NORMALS.get(ending, {}))
    return exported.encode() if isinstance(exported, str) else bytes(exported)


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
