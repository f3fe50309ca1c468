"""Pictures of sparse radiance fields: ray marching in NumPy that steps over empty space. No GPU, no window, no torch.

The published model's renderer is CUDA code without a specification, so the rules are this project's: inside a voxel, a
component's weight is the product of its three vectors at the point, each interpolated between its entries (Gao et al.
2023, "Strivec"); density is the weighted sum of softplus(density) of the components, per edge of the unit cube; colour
the mean of theirs, weighted by those shares; absorption is that of Max 1995, "Optical models for direct volume
rendering". What a trained field was trained with may differ in the activation and in the density's unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.draw.render import around, camera_axes, contact_sheet, framing
from gen3dexport.assets.gaussians import SH_C0
from gen3dexport.assets.radiance_field import RadianceField

Floats = NDArray[np.float64]

_OPAQUE = 1e-3  # what is left of a ray's light where it ends
_BATCH = 1 << 16  # points that are looked up at once


@dataclass(frozen=True, eq=False)
class _Grid:
    """Where the field is.

    Attributes:
        index: [R, R, R] row of the voxel, or -1.
        empty: [R, R, R] how many voxels around a cell are empty at least (Chebyshev); 0 in occupied ones.
    """

    index: NDArray[np.int64]
    empty: NDArray[np.int64]


def render_field(
    field: RadianceField,
    azimuth: float = 35,
    elevation: float = 22,
    size: int = 256,
    steps: int = 4,
    background: float = 1.0,
) -> NDArray[np.uint8]:
    """A square picture [size, size, 3] on a grey of that level, framed by the unit cube's sphere.

    Args:
        size: pixels, thus rays, of an edge.
        steps: samples per voxel's edge along a ray; time grows with it, and noise in thin layers falls.
    """
    color, light = march(field, azimuth, elevation, size, steps)[:2]
    shown = np.clip(color + light[..., None] * background, 0, 1)
    return (shown * 255 + 0.5).astype(np.uint8)


def field_turntable(field: RadianceField, views: int = 8, size: int = 160, steps: int = 2) -> NDArray[np.uint8]:
    """A contact sheet of pictures around the field, like `render.turntable`."""
    return contact_sheet([render_field(field, azimuth, size=size, steps=steps) for azimuth in around(views)])


def march(
    field: RadianceField, azimuth: float, elevation: float, size: int, steps: int = 4, skip: bool = True
) -> tuple[Floats, Floats, int]:
    """Colour [size, size, 3] in front, light [size, size] that passes, and how many points of the field were read.

    Args:
        skip: jump over empty space; without, every step inside the cube is taken (the same picture, later).
    """
    grid = _grid(field)
    resolution = len(grid.index)
    origin, rays = _rays(azimuth, elevation, size)
    near, far = _through_cube(origin, rays)
    step = 1 / (resolution * steps)
    # Samples lie on the same distances for every ray, so that skipping changes none of them.
    at, last = np.ceil(near / step), np.floor(far / step)
    color, light, read = np.zeros((len(rays), 3)), np.ones(len(rays)), 0
    alive = np.flatnonzero(last >= at)
    while len(alive):
        points = origin + rays[alive] * (at[alive] * step)[:, None]
        cells = np.clip(((points + 0.5) * resolution).astype(np.int64), 0, resolution - 1)
        voxel = grid.index[tuple(cells.T)]
        inside = np.flatnonzero(voxel >= 0)
        read += len(inside)
        for start in range(0, len(inside), _BATCH):
            some = inside[start : start + _BATCH]
            rows = alive[some]
            local = (points[some] + 0.5) * resolution - cells[some]
            density, rgb = _sample(field, voxel[some], local)
            passed = np.exp(-density * step)
            color[rows] += (light[rows] * (1 - passed))[:, None] * rgb
            light[rows] *= passed
        jump = np.ones(len(alive))
        if skip:
            jump = np.maximum(1, (grid.empty[tuple(cells.T)] - 1) * steps)
        at[alive] += jump
        alive = alive[(at[alive] <= last[alive]) & (light[alive] > _OPAQUE)]
    return color.reshape(size, size, 3), light.reshape(size, size), read


def _grid(field: RadianceField) -> _Grid:
    from scipy.ndimage import distance_transform_cdt

    resolution = 2**field.depth
    index = np.full((resolution,) * 3, -1, np.int64)
    cells = np.floor(field.positions.astype(np.float64) * resolution).astype(np.int64)
    index[tuple(np.clip(cells, 0, resolution - 1).T)] = np.arange(len(cells))
    empty = np.full(index.shape, resolution, np.int64)
    if (index >= 0).any():
        empty = distance_transform_cdt(index < 0, metric="chessboard").astype(np.int64)
    return _Grid(index, empty)


def _rays(azimuth: float, elevation: float, size: int) -> tuple[Floats, Floats]:
    """The camera's place [3] and unit directions [size * size, 3], row by row from the top."""
    right, up, back = camera_axes(azimuth, elevation)
    distance, focal = framing(math.sqrt(0.75), size)
    offset = (np.arange(size) + 0.5 - size / 2) / focal
    rays = offset[None, :, None] * right - offset[:, None, None] * up - back
    rays = rays.reshape(-1, 3)
    return distance * back, rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _through_cube(origin: Floats, rays: Floats) -> tuple[Floats, Floats]:
    """Distances at which rays enter and leave the unit cube (slabs, Kay and Kajiya 1986); far < near for a miss."""
    with np.errstate(divide="ignore"):
        one, other = (-0.5 - origin) / rays, (0.5 - origin) / rays
    return np.minimum(one, other).max(1), np.maximum(one, other).min(1)


def _sample(field: RadianceField, voxel: NDArray[np.int64], local: Floats) -> tuple[Floats, Floats]:
    """Density [P] and rgb [P, 3] at places [P, 3] in [0, 1] of voxels [P]."""
    dim = field.trivec.shape[-1]
    place = np.clip(local * dim - 0.5, 0, dim - 1)  # entries lie at the centres of dim equal parts
    low = np.minimum(place.astype(np.int64), max(dim - 2, 0))
    share = (place - low)[..., None]
    rows, axes = voxel[:, None], np.arange(3)
    first = field.trivec[rows, :, axes, low]  # [P, 3, rank]
    second = field.trivec[rows, :, axes, np.minimum(low + 1, dim - 1)]
    weights = ((1 - share) * first + share * second).prod(1)
    shares = weights * np.logaddexp(0, field.density[voxel].astype(np.float64))
    density = np.maximum(shares.sum(1), 0)
    colors = 0.5 + SH_C0 * field.sh[voxel, :, 0].astype(np.float64)  # [P, rank, 3]
    total = shares.sum(1, keepdims=True)
    mixed = (shares[..., None] * colors).sum(1)
    rgb = np.divide(mixed, total, out=np.zeros_like(mixed), where=total > 0)
    return density, np.clip(rgb, 0, 1)
