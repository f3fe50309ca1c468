"""How much light reaches a mesh and the ground under it: many shadow maps, whose mean is soft."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.draw.rasterise import nearness_map
from gen3dexport.assets.mesh import Mesh, vertex_normals

Floats = NDArray[np.float64]

_MAP = 144  # pixels of a shadow map
_TEXTURE = 160  # samples of the ground along an edge
_REACH = 2.2  # half-width of the ground texture, in radii
_BIAS = 0.02  # what counts as in front, in radii: keeps a surface from shadowing itself


@dataclass(frozen=True, eq=False)
class Stage:
    """A mesh as light sees it.

    Attributes:
        vertices: [V, 3] relative to `centre`.
        normals: [V, 3].
        faces: [F, 3].
        centre: of the bounding box.
        radius: of the sphere around `centre` that holds the mesh.
        floor: z of the lowest vertex, relative to `centre`.
    """

    vertices: Floats
    normals: Floats
    faces: NDArray[np.int64]
    centre: Floats
    radius: float
    floor: float


@dataclass(frozen=True, eq=False)
class Light:
    """Shares of light in [0, 1].

    Attributes:
        vertices: [V] what reaches each vertex.
        ground: [N, N] what reaches the ground, over the square of half-width `reach` around the centre, by x and y.
        reach: half the edge of that square.
    """

    vertices: Floats
    ground: Floats
    reach: float


def stage(mesh: Mesh) -> Stage:
    """The mesh around its centre.

    Raises:
        ValueError: when there are no faces.
    """
    if not len(mesh.faces):
        raise ValueError("the mesh has no faces to draw")
    used = mesh.vertices[np.unique(mesh.faces)].astype(np.float64)
    centre = (used.min(0) + used.max(0)) / 2
    normals = mesh.normals if mesh.normals is not None else vertex_normals(mesh.vertices, mesh.faces)
    return Stage(
        vertices=mesh.vertices.astype(np.float64) - centre,
        normals=normals.astype(np.float64),
        faces=mesh.faces,
        centre=centre,
        radius=max(float(np.linalg.norm(used - centre, axis=1).max()), 1e-6),
        floor=float(used[:, 2].min() - centre[2]),
    )


def sky_light(scene: Stage, directions: int = 28) -> Light:
    """Light of an even sky: ambient occlusion."""
    k = np.arange(directions) + 0.5
    z, turn = 1 - k / directions * 0.95, k * math.pi * (3 - math.sqrt(5))  # Fibonacci lattice on the upper half sphere
    flat = np.sqrt(1 - z**2)
    sky = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
    cosines = np.maximum(sky @ scene.normals.T, 0.0) + 0.05  # [D, V]
    return _mean_light(scene, sky, cosines, sky[:, 2])


def key_light(scene: Stage, towards: Floats, spread: float = math.radians(9), directions: int = 9) -> Light:
    """Light of a disc in the unit direction `towards`, `spread` radians in radius: soft shadow."""
    k = np.arange(directions)
    radius, turn = np.sqrt((k + 0.5) / directions) * math.tan(spread), k * math.pi * (3 - math.sqrt(5))
    right = _unit(np.cross([0.0, 0.0, 1.0], towards))
    up = np.cross(towards, right)
    disc = towards + (radius * np.cos(turn))[:, None] * right + (radius * np.sin(turn))[:, None] * up
    even = np.ones((directions, len(scene.vertices)))
    return _mean_light(scene, np.array([_unit(d) for d in disc]), even, np.ones(directions))


def _mean_light(scene: Stage, directions: Floats, vertex_weights: Floats, ground_weights: Floats) -> Light:
    from scipy.ndimage import gaussian_filter

    reach = _REACH * scene.radius
    axis = np.linspace(-reach, reach, _TEXTURE)
    gx, gy = np.meshgrid(axis, axis, indexing="ij")
    ground = np.stack([gx, gy, np.full_like(gx, scene.floor)], axis=-1).reshape(-1, 3)
    points = np.concatenate([scene.vertices + scene.normals * (_BIAS * scene.radius), ground])
    count = len(scene.vertices)
    on_vertices, on_ground = np.zeros(count), np.zeros(len(ground))
    for direction, weights, weight in zip(directions, vertex_weights, ground_weights, strict=True):
        seen = _sees(scene, points, direction)
        on_vertices += seen[:count] * weights
        on_ground += seen[count:] * weight
    texture = (on_ground / ground_weights.sum()).reshape(_TEXTURE, _TEXTURE)
    return Light(on_vertices / vertex_weights.sum(0), gaussian_filter(texture, 1.2, mode="nearest"), reach)


def _sees(scene: Stage, points: Floats, direction: Floats) -> NDArray[np.bool_]:
    """Whether each point sees the light in `direction`, past the mesh."""
    right = _unit(np.cross([0.0, 0.0, 1.0] if abs(direction[2]) < 0.99 else [1.0, 0.0, 0.0], direction))
    axes = np.stack([right, np.cross(direction, right), direction], axis=1)
    scale = _MAP / (2.02 * scene.radius)
    shift = np.array([_MAP / 2, _MAP / 2, 0.0])
    to_map = axes * np.array([scale, scale, 1.0])
    screen, wanted = scene.vertices @ to_map + shift, points @ to_map + shift
    depth = nearness_map(screen, scene.faces, _MAP, _MAP)
    column, row = np.floor(wanted[:, 0]).astype(np.int64), np.floor(wanted[:, 1]).astype(np.int64)
    on_map = (column >= 0) & (column < _MAP) & (row >= 0) & (row < _MAP)
    nearest = depth[np.where(on_map, row, 0), np.where(on_map, column, 0)]
    blocked: NDArray[np.bool_] = on_map & (nearest > wanted[:, 2] + _BIAS * scene.radius)
    return ~blocked


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / np.linalg.norm(vector)
    return unit
