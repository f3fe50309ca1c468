"""SF3D's textures: the mesh is unwrapped, and each texel asks the field. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.texture import Texture
from gen3dexport.models.texture_baking import (
    area_normals,
    in_bytes,
    in_tangent_frame,
    painted,
    tangents,
    texels,
    unwrapped,
)

Floats = NDArray[np.float32]
Ask = Callable[[Floats], Mapping[str, Floats]]
"""Points [N, 3] of the unit cube -> colours in [0, 1] (`features`) and unit normals (`perturb_normal`) [N, 3]."""

_SPREAD = 150  # a texture's edge over how many texels colours spread beyond the charts
_EVEN = np.array([0.5, 0.5, 1.0], np.float32)  # a normal map's value of the mesh's own normal
_ROUGHNESS = 0.9  # of a model that estimates none


def textured(
    vertices: Floats, faces: NDArray[np.int64], ask: Ask, size: int, material: Mapping[str, float], cell: float
) -> Mesh:
    """The mesh with textures of `size`^2 texels.

    Args:
        material: `roughness` and `metallic` of the whole, where they are known.
        cell: edge of the cells that the surface came from, in edges of the unit cube.

    Raises:
        MissingError: where xatlas is not installed.
    """
    whole = area_normals(vertices, faces)
    cut = unwrapped(vertices, faces, size)
    places, normals = vertices[cut.source], whole[cut.source]
    along = tangents(places, normals, cut)
    covered = texels(cut, size)
    found = ask(covered.of(places))
    spread = max(1, size // _SPREAD)
    colors = found["features"]
    mean = colors.mean(0) if len(colors) else np.zeros(3, np.float32)
    bumps = in_tangent_frame(found["perturb_normal"], covered.of(normals), covered.of(along))
    texture = Texture(
        cut.uv,
        in_bytes(painted(covered, colors, spread, mean)),
        in_bytes(painted(covered, (bumps / 2 + 0.5).astype(np.float32), spread, _EVEN), seed=1),
        _constant(material) if material else None,
        along,
        metallic=1.0 if "metallic" in material else 0.0,
        roughness=1.0 if "roughness" in material else _ROUGHNESS,
    )
    return Mesh(places, cut.faces, normals, texture.color_at(cut.uv), cell, texture=texture)


def _constant(material: Mapping[str, float]) -> NDArray[np.uint8]:
    """A picture of one material: roughness in the second channel, metalness in the third."""
    values = [1.0, *(material.get(name, 1.0) for name in ("roughness", "metallic"))]
    return np.tile(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8), (4, 4, 1))
