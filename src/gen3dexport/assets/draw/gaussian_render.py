"""Pictures of 3D Gaussians: a splatting renderer in NumPy, for people and for metrics. No GPU, no window, no torch.

Each Gaussian becomes an ellipse on the picture: its covariance through the projection's Jacobian (Zwicker et al. 2001,
"EWA Volume Splatting"); ellipses are blended front to back (Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time
Radiance Field Rendering", section 4 and appendix C). Colours are those of the constant spherical harmonic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.draw.render import around, camera_axes, contact_sheet, framing
from gen3dexport.assets.gaussians import Gaussians

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_TILE = 8
_CHUNK = 256  # Gaussians of a tile that are blended at once
_REACH = 3.33  # standard deviations at which exp(-d^2 / 2) falls under 1/255
_LEAST_ALPHA = 1 / 255
_MOST_ALPHA = 0.99
_OPAQUE = 1e-4  # what is left of the light where nothing behind is seen any more


@dataclass(frozen=True)
class Lens:
    """Where a camera stands and what it sees.

    Attributes:
        distance: from the middle of the unit cube; near, far: depths between which Gaussians are seen.
        focal: pixels at distance 1.
    """

    distance: float
    focal: float
    near: float = 0.1
    far: float = math.inf


@dataclass(frozen=True, eq=False)
class _Splats:
    """Ellipses on a picture, nearest first.

    Attributes:
        centres: [N, 2] column and row in pixels.
        conics: [N, 3] xx, xy, yy of the inverse covariances, in 1 / pixel^2, times -1/2, -1, -1/2.
        reach: [N] pixels from the centre beyond which nothing is drawn.
        opacities: [N]; colors: [N, 3] linear in what is blended.
    """

    centres: Singles
    conics: Singles
    reach: Singles
    opacities: Singles
    colors: Singles


def render_gaussians(
    gaussians: Gaussians, azimuth: float = 35, elevation: float = 22, size: int = 512, background: float = 1.0
) -> NDArray[np.uint8]:
    """A square picture [size, size, 3] on a grey of that level, framed by the unit cube's sphere.

    Args:
        azimuth: degrees of the camera around z, counter-clockwise from +x seen from above.
        elevation: degrees of the camera above the horizon.
    """
    color, alpha = splat(gaussians, azimuth, elevation, size)
    shown = np.clip(color + (1 - alpha[..., None]) * background, 0, 1)
    return (shown * 255 + 0.5).astype(np.uint8)


def gaussian_turntable(gaussians: Gaussians, views: int = 8, size: int = 256) -> NDArray[np.uint8]:
    """A contact sheet of pictures around the Gaussians, like `render.turntable`."""
    return contact_sheet([render_gaussians(gaussians, azimuth, size=size) for azimuth in around(views)])


def splat(
    gaussians: Gaussians,
    azimuth: float = 35,
    elevation: float = 22,
    size: int = 512,
    blur: float = 0.3,
    lens: Lens | None = None,
) -> tuple[Floats, Floats]:
    """Colour [size, size, 3], already times alpha, and alpha [size, size] of Gaussians seen from a camera.

    Args:
        blur: variance in pixel^2 that is added to every ellipse, so that none falls between pixels.
        lens: of the camera; without one, it frames the unit cube's sphere.
    """
    splats = _project(gaussians, azimuth, elevation, size, blur, lens or Lens(*framing(math.sqrt(0.75), size)))
    tiles = -(-size // _TILE)
    color, alpha = np.zeros((size, size, 3)), np.zeros((size, size))
    for tile, members in _members(splats, tiles, size):
        row, column = (_TILE * k for k in divmod(tile, tiles))
        height, width = min(_TILE, size - row), min(_TILE, size - column)
        rows, columns = np.mgrid[row : row + height, column : column + width].reshape(2, -1).astype(np.float32) + 0.5
        mixed, light = _blend(splats, members, columns, rows)
        color[row : row + height, column : column + width] = mixed.reshape(height, width, 3)
        alpha[row : row + height, column : column + width] = 1 - light.reshape(height, width)
    return color, alpha


def _project(gaussians: Gaussians, azimuth: float, elevation: float, size: int, blur: float, lens: Lens) -> _Splats:
    right, up, back = camera_axes(azimuth, elevation)
    focal = lens.focal
    positions = gaussians.positions.astype(np.float64)
    depth = lens.distance - positions @ back
    seen = np.flatnonzero((depth > lens.near) & (depth < lens.far) & (gaussians.opacities >= _LEAST_ALPHA))
    seen = seen[np.argsort(depth[seen], kind="stable")]
    positions, near = positions[seen], (1 / depth[seen])[:, None]
    x, y = (positions @ right)[:, None] * near, (positions @ up)[:, None] * near
    across = focal * near * (right + x * back)  # gradients [N, 3] of column and row by position
    down = -focal * near * (up + y * back)
    xx, xy, xz, yy, yz, zz = gaussians.covariances[seen].astype(np.float64).T
    full = np.stack([np.stack([xx, xy, xz], -1), np.stack([xy, yy, yz], -1), np.stack([xz, yz, zz], -1)], -2)
    jacobian = np.stack([across, down], 1)
    flat = jacobian @ full @ jacobian.transpose(0, 2, 1)
    a, b, c = flat[:, 0, 0] + blur, flat[:, 0, 1], flat[:, 1, 1] + blur
    determinant = a * c - b * b
    largest = (a + c) / 2 + np.sqrt(np.maximum(((a - c) / 2) ** 2 + b * b, 0))
    return _Splats(
        centres=np.concatenate([size / 2 + focal * x, size / 2 - focal * y], axis=1).astype(np.float32),
        conics=(np.stack([-c / 2, b, -a / 2], -1) / determinant[:, None]).astype(np.float32),
        reach=(_REACH * np.sqrt(largest)).astype(np.float32),
        opacities=gaussians.opacities[seen].astype(np.float32),
        colors=gaussians.colors[seen].astype(np.float32),
    )


def _members(splats: _Splats, tiles: int, size: int) -> list[tuple[int, NDArray[np.int64]]]:
    """(tile, its splats nearest first) of every tile that one reaches; tiles are numbered row by row."""
    low = np.floor((splats.centres - splats.reach[:, None]) / _TILE).astype(np.int64).clip(0, tiles)
    high = (np.floor((splats.centres + splats.reach[:, None]) / _TILE).astype(np.int64) + 1).clip(0, tiles)
    spans = np.maximum(high - low, 0)
    counts = spans[:, 0] * spans[:, 1]
    owner = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(place, np.maximum(spans[owner, 0], 1))
    tile = (low[owner, 1] + row) * tiles + low[owner, 0] + column
    order = np.argsort(tile, kind="stable")  # owners are in depth order already
    found, starts = np.unique(tile[order], return_index=True)
    return list(zip(found.tolist(), np.split(owner[order], starts[1:]), strict=True)) if len(found) else []


def _blend(splats: _Splats, members: NDArray[np.int64], columns: Singles, rows: Singles) -> tuple[Singles, Singles]:
    """Colour [P, 3] of P pixels and the light [P] that passes all members."""
    color, light = np.zeros((len(columns), 3), np.float32), np.ones(len(columns), np.float32)
    lit = np.arange(len(columns))  # pixels that are not opaque yet
    for start in range(0, len(members), _CHUNK):
        some = members[start : start + _CHUNK]
        dx = columns[lit] - splats.centres[some, :1]
        dy = rows[lit] - splats.centres[some, 1:]
        xx, xy, yy = splats.conics[some].T[:, :, None]
        alpha = splats.opacities[some, None] * np.exp((xx * dx + xy * dy) * dx + yy * dy * dy)
        np.minimum(alpha, _MOST_ALPHA, out=alpha)
        alpha *= alpha >= _LEAST_ALPHA
        passed = np.cumprod(1 - alpha, axis=0)
        alpha[1:] *= passed[:-1]
        color[lit] += light[lit, None] * (alpha.T @ splats.colors[some])
        light[lit] *= passed[-1]
        lit = lit[light[lit] >= _OPAQUE]
        if not len(lit):
            break
    return color, light
