"""Files of meshes: .glb, .obj, .ply and .stl, written and read.

A .glb and an .obj are y up, as their readers take them; a .ply and an .stl are z up. All are right-handed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.colour import display_light, linear_light
from gen3dexport.assets.glb import TO_Y_UP, glb
from gen3dexport.assets.glb_reading import GlbProblem, read_triangles
from gen3dexport.assets.mesh import Mesh, always_unit, is_closed, vertex_normals, whole_faces
from gen3dexport.assets.texture import Texture, png
from gen3dexport.disk import write_output
from gen3dexport.errors import UsageError, VerificationError

FORMATS = (".glb", ".obj", ".ply", ".stl")
_Y_UP = (".glb", ".obj")
_ROUGHNESS = 0.9
_LINEAR, _LINEAR_MIPMAPS, _CLAMPED = 9729, 9987, 33071  # OpenGL's numbers, as glTF has them
# trimesh leaves normals out unless asked, by a name of each format; an STL has none per vertex.
_NORMALS = {".obj": {"include_normals": True}, ".ply": {"vertex_normal": True}}


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` to `path` in the format of its ending: .glb, .obj, .ply or .stl.

    Y up means that (x, y, z) becomes (x, z, -y). Normals and colors are stored where the format has them. Missing
    parent folders are made. A .glb has a mesh's textures and material; other files have its colors alone. The file
    appears whole or not at all.

    Raises:
        UsageError: for an unknown ending, a place that cannot be written, or a mesh without triangles.
    """
    write_output(path, content(mesh, format_of(path)))


def content(mesh: Mesh, ending: str) -> bytes:
    """The bytes of the file that `write` writes.

    Raises:
        UsageError: for a mesh without triangles, of which no format makes a file that others read.
    """
    if not len(mesh.faces):
        raise UsageError(f"a {ending} of a mesh without triangles cannot be written; make another asset")
    turn = TO_Y_UP.T if ending in _Y_UP else np.eye(3)
    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else always_unit(mesh.normals)
    points, normals = (mesh.vertices @ turn).astype(np.float32), (normals @ turn).astype(np.float32)
    if ending == ".glb":
        return _glb(mesh, points, normals)
    exported = _trimesh(mesh, points, normals).export(file_type=ending[1:], **_NORMALS.get(ending, {}))
    return exported.encode() if isinstance(exported, str) else bytes(exported)


def _glb(mesh: Mesh, points: NDArray[np.float32], normals: NDArray[np.float32]) -> bytes:
    attributes = {"POSITION": points, "NORMAL": normals}
    small = np.uint16 if len(points) < 65535 else np.uint32
    indices = mesh.faces.reshape(-1).astype(small)
    surface = {"metallicFactor": 0, "roughnessFactor": _ROUGHNESS}  # without a material, the default is a metal
    material = {"name": "surface", "pbrMetallicRoughness": surface, "doubleSided": not is_closed(whole_faces(mesh))}
    if mesh.texture is not None:
        shown, document, pictures = _textured(mesh.texture, material)
        return glb({**attributes, **shown}, indices, {"material": 0}, document, pictures)
    if mesh.colors is not None:  # linear light, by the specification; floats, which all readers have right
        attributes["COLOR_0"] = linear_light(mesh.colors / 255).astype(np.float32)
    return glb(attributes, indices, {"material": 0}, {"materials": [material]})


def _textured(
    texture: Texture, material: dict[str, Any]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any], list[bytes]]:
    """Further attributes, the document's fields and the pictures of a textured surface."""
    attributes = {"TEXCOORD_0": texture.uv.astype(np.float32)}
    if texture.tangents is not None:
        turned = texture.tangents[:, :3] @ TO_Y_UP.T
        attributes["TANGENT"] = np.concatenate([turned, texture.tangents[:, 3:]], 1).astype(np.float32)
    pictures = texture.pictures()
    place = {name: {"index": i} for i, name in enumerate(pictures)}
    surface: dict[str, Any] = {"baseColorTexture": place["base_color"]}
    surface |= {"metallicFactor": texture.metallic, "roughnessFactor": texture.roughness}
    if "metallic_roughness" in place:
        surface["metallicRoughnessTexture"] = place["metallic_roughness"]
    made = {**material, "pbrMetallicRoughness": surface}
    if "normal" in place:
        made["normalTexture"] = place["normal"]
    document = {
        "materials": [made],
        "samplers": [{"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAPS, "wrapS": _CLAMPED, "wrapT": _CLAMPED}],
        "textures": [{"source": i, "sampler": 0} for i in range(len(pictures))],
    }
    return attributes, document, [png(picture) for picture in pictures.values()]


def read(path: Path) -> Mesh:
    """The mesh in a .glb, .obj, .ply or .stl file, z up (y-up ones are rotated back), normals made anew.

    Raises:
        UsageError: when the file is missing or its ending is unknown.
        VerificationError: when it holds no readable triangles.
    """
    kind = format_of(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file; generate it first, or check the path")
    vertices, faces, colors = _read_glb(path) if kind == ".glb" else _read_by_trimesh(path, kind)
    if not len(faces):
        raise VerificationError(f"{path}: holds no triangles; write it again")
    if kind in _Y_UP:
        vertices = vertices @ TO_Y_UP
    points = vertices.astype(np.float32)
    return Mesh(points, faces, vertex_normals(points, faces), colors)


Parts = tuple[NDArray[Any], NDArray[np.int64], NDArray[np.uint8] | None]


def _read_glb(path: Path) -> Parts:
    try:
        found = read_triangles(path.read_bytes())
    except GlbProblem as error:
        raise VerificationError(f"{path}: {error}; write it again, uncompressed") from error
    colors = None if found.colors is None else np.rint(255 * display_light(found.colors)).astype(np.uint8)
    return found.vertices, found.faces, colors


def _read_by_trimesh(path: Path, kind: str) -> Parts:
    import trimesh

    try:
        loaded = trimesh.load_mesh(path, file_type=kind[1:], process=kind == ".stl")  # an STL stores no shared vertices
    except Exception as error:  # trimesh's readers raise many types; the cause is kept
        raise VerificationError(f"{path}: not a readable {kind} file ({error}); write it again") from error
    if not isinstance(loaded, trimesh.Trimesh):
        raise VerificationError(f"{path}: holds no triangles; write it again")
    colors = None
    if loaded.visual.kind == "vertex":
        colors = np.asarray(loaded.visual.vertex_colors, dtype=np.uint8)[:, :3]
    return np.asarray(loaded.vertices), np.asarray(loaded.faces, dtype=np.int64), colors


def format_of(path: Path) -> str:
    """The ending of a mesh file, in lower case.

    Raises:
        UsageError: for an unknown one.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise UsageError(f"{path}: unknown mesh format {path.suffix!r}; known endings are {', '.join(FORMATS)}")
    return kind


def _trimesh(mesh: Mesh, points: NDArray[np.float32], normals: NDArray[np.float32]) -> Any:
    import trimesh

    return trimesh.Trimesh(
        vertices=points, faces=mesh.faces, vertex_normals=normals, vertex_colors=mesh.colors, process=False
    )
