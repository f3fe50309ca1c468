"""Cameras on an orbit, the rays of their pixels, and the rasteriser's matrices. No torch.

Cameras are OpenGL's: x right, y up, looking along -z; matrices are camera to world. The world is y up. An azimuth of 0
lies on +z and one of 90 on +x; a positive elevation looks from below.
Source: Tang et al. 2024, "LGM"; Pluecker coordinates of a ray are (o x d, d).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def orbit(elevation: float, azimuths: Sequence[float], radius: float) -> Floats:
    """Cameras [N, 4, 4] that look at the origin; angles in degrees."""
    e = math.radians(elevation)
    found = np.zeros((len(azimuths), 4, 4))
    for camera, azimuth in zip(found, azimuths, strict=True):
        a = math.radians(azimuth)
        place = radius * np.array([math.cos(e) * math.sin(a), -math.sin(e), math.cos(e) * math.cos(a)])
        back = _unit(place)
        right = _unit(np.cross([0.0, 1.0, 0.0], back))
        camera[:3] = np.stack([right, _unit(np.cross(back, right)), back, place], 1)
        camera[3, 3] = 1
    return found.astype(np.float32)


def evenly(views: int) -> list[float]:
    """Azimuths of so many views around the object, the first at 0."""
    return [360 * view / views for view in range(views)]


def rays(cameras: Floats, size: int, fovy: float) -> Floats:
    """Pluecker coordinates [N, 6, size, size] of the rays of pixels' middles: moment o x d, then direction d."""
    focal = 0.5 * size / math.tan(math.radians(fovy) / 2)
    rows, columns = np.indices((size, size)) + 0.5
    seen = np.stack([(columns - size / 2) / focal, -(rows - size / 2) / focal, -np.ones((size, size))], -1)
    directions = np.einsum("nij,hwj->nhwi", cameras[:, :3, :3].astype(np.float64), seen)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    moments = np.cross(cameras[:, None, None, :3, 3].astype(np.float64), directions)
    return np.concatenate([moments, directions], -1).transpose(0, 3, 1, 2).astype(np.float32)


def views(cameras: Floats) -> Floats:
    """World to camera [N, 4, 4] in OpenCV's axes, transposed: rows times this."""
    turned = cameras.astype(np.float64)
    turned[:, :3, 1:3] *= -1
    return np.linalg.inv(turned).transpose(0, 2, 1).astype(np.float32)


def projection(fovy: float, near: float, far: float) -> Floats:
    """The perspective [4, 4] for rows, as rasterisers of Gaussians take it."""
    made = np.zeros((4, 4), np.float32)
    made[0, 0] = made[1, 1] = 1 / math.tan(math.radians(fovy) / 2)
    made[2, 2] = (far + near) / (far - near)
    made[3, 2] = -far * near / (far - near)
    made[2, 3] = 1
    return made


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = vector / math.sqrt(max(float(vector @ vector), 1e-20))
    return made
