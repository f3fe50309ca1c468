"""A mesh unwrapped onto a picture, and what is baked into that picture. No torch.

A texture's first row is at v = 0, as in glTF. Needs xatlas (extra `textures`).
Source of the tangents: Mikkelsen 2008, "Simulation of Wrinkled Surfaces Revisited".
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.draw.rasterise import rasterise
from gen3dexport.errors import MissingError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_PADDING = 4  # texels between two charts


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """A mesh cut along seams.

    Attributes:
        source: [V] the vertex of the whole mesh that each is; faces: [F, 3].
        uv: [V, 2] places in the texture, from 0 to 1.
    """

    source: Ints
    faces: Ints
    uv: Floats


@dataclass(frozen=True, eq=False)
class Texels:
    """What each texel of a texture shows.

    Attributes:
        covered: [S, S] whether it shows anything.
        corners: [N, 3] vertices of the triangle that each covered one lies in, row by row; weights: [N, 3].
    """

    covered: NDArray[np.bool_]
    corners: Ints
    weights: NDArray[np.float64]

    def of(self, values: NDArray[np.floating]) -> Floats:
        """Values [V, C] of vertices at the covered texels [N, C]."""
        mixed: Floats = np.einsum("nk,nkc->nc", self.weights, values[self.corners].astype(np.float64))
        return mixed.astype(np.float32)


def require_unwrapper() -> None:
    """Raises MissingError where xatlas is not installed."""
    if find_spec("xatlas") is None:
        raise MissingError(
            "textures: xatlas, which unwraps a mesh, is not installed; run: pip install 'gen3dexport[textures]'"
        )


def unwrapped(vertices: Floats, faces: Ints, size: int) -> Unwrapped:
    """The mesh as charts of a texture of `size`^2 texels.

    Raises:
        MissingError: where xatlas is not installed.
    """
    require_unwrapper()
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces.astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = size, _PADDING, True
    atlas.generate(xatlas.ChartOptions(), packing)
    source, made, uv = atlas[0]
    # xatlas keeps a face's turn with v up; a texture's rows run down.
    places = np.stack([uv[:, 0], 1 - uv[:, 1]], -1).astype(np.float32)
    return Unwrapped(source.astype(np.int64), made.astype(np.int64), places)


def texels(mesh: Unwrapped, size: int) -> Texels:
    """Which point of the mesh each texel's centre is on."""
    places = np.concatenate([mesh.uv.astype(np.float64) * size, np.zeros((len(mesh.uv), 1))], 1)
    face, weights = rasterise(places, mesh.faces, size, size)
    covered = face >= 0
    return Texels(covered, mesh.faces[face[covered]], weights[covered])


def area_normals(vertices: Floats, faces: Ints) -> Floats:
    """Unit normals [V, 3]: the adjacent faces' normals weighted by their area."""
    corners = vertices[faces].astype(np.float64)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return _unit(_sums(faces, np.repeat(flat[:, None], 3, 1), len(vertices)), np.array([0.0, 0.0, 1.0]))


def tangents(vertices: Floats, normals: Floats, mesh: Unwrapped) -> Floats:
    """Tangents [V, 4]: the way in which u grows, and the sign of the bitangent, sign * (normal x tangent), which is the
    way up in the texture.

    Args:
        vertices, normals: [V, 3] of the cut mesh.
    """
    corners, uv = vertices[mesh.faces].astype(np.float64), mesh.uv[mesh.faces].astype(np.float64)
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    du, dv = uv[:, 1:, 0] - uv[:, :1, 0], uv[:, :1, 1] - uv[:, 1:, 1]  # v up
    area = du[:, 0] * dv[:, 1] - du[:, 1] * dv[:, 0]
    turned = np.where(area < 0, -1.0, 1.0)[:, None]
    along = (one * dv[:, 1:] - two * dv[:, :1]) * turned
    around = normals[mesh.faces].astype(np.float64)
    flat = _lengthened(along[:, None] - around * (along[:, None] * around).sum(-1, keepdims=True))
    ahead, behind = (_lengthened(np.roll(corners, k, 1) - corners) for k in (-1, 1))
    angles = np.arccos(np.clip((ahead * behind).sum(-1, keepdims=True), -1, 1))
    total = _sums(mesh.faces, flat * angles, len(vertices))
    total -= normals * (total * normals).sum(-1, keepdims=True)
    sign = _sums(mesh.faces, np.repeat(area[:, None, None], 3, 1), len(vertices))
    away = np.where(np.abs(normals[:, :1]) < 0.7, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    spare = np.cross(away, normals)
    made = _unit(np.where((np.linalg.norm(total, axis=1) > 1e-9)[:, None], total, spare), np.array([1.0, 0.0, 0.0]))
    return np.concatenate([made, np.where(sign < 0, -1, 1)], 1).astype(np.float32)


def in_tangent_frame(directions: Floats, normals: Floats, tangent: Floats) -> Floats:
    """Unit directions [N, 3] along tangent, bitangent and normal; these are interpolated and made orthonormal here.

    Args:
        tangent: [N, 4], of `tangents`.
    """
    normal = _unit(normals, np.array([0.0, 0.0, 1.0]))
    along = tangent[:, :3] - normal * (tangent[:, :3] * normal).sum(1, keepdims=True)
    along = _unit(along, np.array([1.0, 0.0, 0.0]))
    across = np.where(tangent[:, 3:] < 0, -1, 1) * np.cross(normal, along)
    return np.stack([(directions * axis).sum(1) for axis in (along, across, normal)], 1).astype(np.float32)


def painted(of: Texels, values: Floats, spread: int, elsewhere: Floats) -> Floats:
    """A picture [S, S, C] of values [N, C] at covered texels: others have the nearest one's, up to `spread` texels away
    in rows and columns; beyond, they have `elsewhere` [C]."""
    from scipy.ndimage import distance_transform_cdt

    size = len(of.covered)
    picture = np.empty((size, size, values.shape[1]), np.float32)
    picture[:] = elsewhere
    if not len(values):
        return picture
    picture[of.covered] = values
    distance, nearest = distance_transform_cdt(~of.covered, "chessboard", return_indices=True)
    near = (distance > 0) & (distance <= spread)
    picture[near] = picture[nearest[0][near], nearest[1][near]]
    return picture


def in_bytes(picture: Floats, seed: int = 0) -> NDArray[np.uint8]:
    """Values in [0, 1] as bytes: the 256th part that each is in, with half a part of seeded noise against bands."""
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, picture.shape).astype(np.float32)
    found: NDArray[np.uint8] = np.clip(np.floor(256 * picture + noise), 0, 255).astype(np.uint8)
    return found


def _sums(faces: Ints, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Sums [V, C] over vertices of values [F, 3, C] of corners."""
    flat = values.reshape(-1, values.shape[-1])
    columns = [np.bincount(faces.reshape(-1), weights=flat[:, k], minlength=count) for k in range(flat.shape[1])]
    return np.stack(columns, 1)


def _lengthened(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors at length 1; zero ones stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: NDArray[np.float64] = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return found


def _unit(vectors: NDArray[np.floating], otherwise: NDArray[np.float64]) -> Floats:
    """Vectors [N, 3] at length 1; `otherwise` for those without a direction."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = length > 1e-20
    return np.where(usable, vectors / np.where(usable, length, 1), otherwise).astype(np.float32)
