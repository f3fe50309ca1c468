"""The kind mesh: its arrays, files, pictures and scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets import mesh_files, texture, usd
from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.draw.render import around, base_color_map, depth_map, turntable
from gen3dexport.assets.file_format import FileFormat, written_by
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.mesh_edits import largest_part, with_faces_at_most
from gen3dexport.assets.metrics import depth_delta1, surface_quality
from gen3dexport.assets.score import CUBE_EDGES, Scale, Score, distance, settled

KIND = "mesh"
_TEXTURE = "texture_"
DEFAULT_CELL = 1 / 64
"""Edge of the cells where a mesh does not say it."""
_SURFACE = (
    Scale("f_score"),
    distance("chamfer", CUBE_EDGES),
    Scale("normal_consistency"),
    Scale("depth_delta1"),
    Scale("f_score_0.5"),
    Scale("f_score_3"),
)
_COLOR = Scale("texture_psnr", "higher", "dB", best=math.inf, worst=-math.inf)
SCALES = (*_SURFACE, _COLOR)
"""The last is of meshes with textures."""
VIEWS = 4
"""Views whose depths are compared."""


FILES: Mapping[str, FileFormat] = {
    ".glb": written_by(mesh_files.content, ".glb", up="y"),
    ".obj": written_by(mesh_files.content, ".obj", up="y"),
    ".ply": written_by(mesh_files.content, ".ply", up="z"),
    ".stl": written_by(mesh_files.content, ".stl", up="z", per_metre=1000),
    **usd.FILES,
}
EDITS: Mapping[str, Callable[[Mesh, Any], Mesh]] = {
    "largest_part": lambda mesh, asked: largest_part(mesh) if asked else mesh,
    "max_faces": with_faces_at_most,
    "size": Mesh.scaled,
}


def extent(mesh: Mesh) -> float:
    """The longest edge of the bounding box of what the faces use."""
    used = mesh.vertices[np.unique(mesh.faces)]
    return float((used.max(0) - used.min(0)).max())


def arrays(mesh: Mesh) -> dict[str, NDArray[Any]]:
    """`vertices` and `faces`; `normals`, `colors`, `cell` and `unit` where the mesh has them, and its texture's arrays,
    named `texture_NAME`."""
    found: dict[str, NDArray[Any]] = {"vertices": mesh.vertices, "faces": mesh.faces}
    found |= {n: v for n, v in (("normals", mesh.normals), ("colors", mesh.colors)) if v is not None}
    if mesh.texture is not None:
        found |= {f"{_TEXTURE}{name}": values for name, values in mesh.texture.arrays().items()}
    numbers = {"cell": mesh.cell, "unit": mesh.unit}
    return found | {n: np.asarray(v, np.float64) for n, v in numbers.items() if v is not None}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Mesh:
    """The mesh of its arrays."""
    cell, unit = (None if name not in arrays else arrays[name].item() for name in ("cell", "unit"))
    own = {name.removeprefix(_TEXTURE): values for name, values in arrays.items() if name.startswith(_TEXTURE)}
    parts = (arrays["vertices"], arrays["faces"], arrays.get("normals"), arrays.get("colors"))
    return Mesh(*parts, cell, unit, texture.from_arrays(own) if own else None)


def problem(mesh: Mesh) -> str | None:
    """No triangles, or numbers that are not finite."""
    return not_finite(arrays(mesh)) or (None if len(mesh.faces) else "it has no triangles")


def counts(mesh: Mesh) -> dict[str, int]:
    """Vertices and faces."""
    return {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}


def picture(mesh: Mesh) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the mesh."""
    return turntable(mesh)


def scores(mesh: Mesh, reference: Mesh) -> tuple[Score, ...]:
    """The F-score at 1.5 cells, Chamfer distance in edges of the unit cube, consistency of normals, the share of depths
    that agree over four views, and the F-scores at 0.5 and 3 cells (see `metrics`); and, where the reference has
    textures, how alike their base colours are in the same views."""
    pair = (mesh, reference)
    scales = _SURFACE if reference.texture is None else SCALES
    known = settled(scales, [not len(m.faces) for m in pair], [not_finite(arrays(m)) is None for m in pair])
    if known is not None:
        return known
    found = surface_quality(mesh, reference, reference.cell or mesh.cell or DEFAULT_CELL)
    depths, others = ([depth_map(m, azimuth) for azimuth in around(VIEWS)] for m in pair)
    near = dict(found.f_scores)
    values = [near[1.5], found.chamfer, found.normal_consistency, depth_delta1(depths, others), near[0.5], near[3.0]]
    if reference.texture is not None:
        values.append(_texture_psnr(mesh, reference))
    return tuple(scale(value) for scale, value in zip(scales, values, strict=True))


def _texture_psnr(mesh: Mesh, reference: Mesh) -> float:
    """Peak signal-to-noise ratio, in dB, of the base colour where both are seen over the views; -inf where nowhere."""
    if mesh.texture is None:
        return -math.inf
    pairs = [[base_color_map(m, azimuth) for azimuth in around(VIEWS)] for m in (mesh, reference)]
    off = np.stack(pairs[0]) - np.stack(pairs[1])
    off = off[np.isfinite(off)]
    if not len(off):
        return -math.inf
    mean = float((off**2).mean())
    return 10 * math.log10(255**2 / mean) if mean else math.inf
