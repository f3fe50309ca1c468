"""The scene: shapes on a round board, as signed distances with colours, and pictures of it traced on the CPU.

Lengths are the field's: all of the scene is in [-1, 1]^3, z is up. Source of the tracing: Hart 1996, "Sphere tracing".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LIGHT = np.array([0.45, -0.35, 0.82], np.float32) / np.float32(np.linalg.norm([0.45, -0.35, 0.82]))
_NEAR, _CLOSE, _STEPS = 1.0, 1e-3, 96  # where rays begin, how near is on the surface, most steps
_FLOOR = -0.5


def _cylinder(p: Floats, place: tuple[float, float], radius: float, low: float, high: float) -> Floats:
    """Distance to an upright cylinder."""
    middle, half = (low + high) / 2, (high - low) / 2
    side = np.hypot(p[:, 0] - place[0], p[:, 1] - place[1]) - radius
    end = np.abs(p[:, 2] - middle) - half
    return np.minimum(np.maximum(side, end), 0) + np.hypot(np.maximum(side, 0), np.maximum(end, 0))


def _board(p: Floats) -> Floats:
    return _cylinder(p, (0, 0), 0.9, -0.6, _FLOOR)


def _pillar(p: Floats) -> Floats:
    return _cylinder(p, (0, 0), 0.11, _FLOOR, 0.3)


def _top(p: Floats) -> Floats:
    return np.linalg.norm(p - np.float32([0, 0, 0.42]), axis=1) - 0.17


def _ball(p: Floats) -> Floats:
    return np.linalg.norm(p - np.float32([0.42, 0.25, -0.24]), axis=1) - 0.26


def _ring(p: Floats) -> Floats:
    x, y, z = (p - np.float32([-0.42, 0.32, -0.2])).T
    along, across = (x + y) * np.float32(0.7071), (x - y) * np.float32(0.7071)
    return np.hypot(np.hypot(along, z) - 0.22, across) - 0.08


def _box(p: Floats) -> Floats:
    away = np.abs(p - np.float32([-0.38, -0.4, -0.31])) - np.float32([0.17, 0.2, 0.17])
    return np.linalg.norm(np.maximum(away, 0), axis=1) + np.minimum(away.max(1), 0) - 0.02


def _cone(p: Floats) -> Floats:
    """A bound of the distance to a cone, whose tip is at z = 0.1."""
    x, y, z = (p - np.float32([0.36, -0.42, 0.1])).T
    slope = np.float32(0.42)
    side = (np.hypot(x, y) + slope * z) / np.sqrt(1 + slope * slope)
    return np.maximum(side, _FLOOR - p[:, 2])


_SHAPES: tuple[Callable[[Floats], Floats], ...] = (_board, _pillar, _top, _ball, _ring, _box, _cone)


def distances(p: Floats) -> Floats:
    """Distances [S, N] of points [N, 3] to the shapes."""
    return np.stack([shape(p) for shape in _SHAPES]).astype(np.float32)


def _either(which: NDArray[np.bool_], one: list[float], other: list[float]) -> Floats:
    return np.where(which[:, None], np.float32(one), np.float32(other))


def _paints(p: Floats) -> list[Floats]:
    """The colour [N, 3] of every shape at points on it."""
    x, y, z = p.T
    around, away = np.arctan2(y, x), np.hypot(x, y)
    tiles = (np.floor(around * 8 / np.pi) + np.floor(away / 0.18)) % 2 == 0
    stripes = np.sin(5 * around + 18 * z) > 0
    bands = np.floor(z / 0.065) % 2 == 0
    dots = ((x + 2) % 0.12 - 0.06) ** 2 + ((y + 2) % 0.12 - 0.06) ** 2 + ((z + 2) % 0.12 - 0.06) ** 2 < 0.05**2
    turn = np.floor(np.arctan2(z + 0.2, (x + 0.42 + y - 0.32) * 0.7071) * 6 / np.pi) % 2 == 0
    return [
        _either(tiles, [0.85, 0.8, 0.7], [0.35, 0.3, 0.28]),
        _either(stripes, [0.9, 0.9, 0.88], [0.75, 0.15, 0.12]),
        np.broadcast_to(np.float32([0.95, 0.75, 0.2]), p.shape),
        _either(bands, [0.15, 0.35, 0.75], [0.9, 0.92, 0.95]),
        _either(turn, [0.1, 0.6, 0.5], [0.2, 0.8, 0.6]),
        _either(dots, [0.95, 0.5, 0.15], [0.95, 0.85, 0.35]),
        np.float32([0.55, 0.25, 0.6]) + np.float32([0.3, 0.3, 0.2]) * np.clip(z + 0.3, 0, 1)[:, None],
    ]


def _traced(origins: Floats, directions: Floats, near: float, far: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Distances along rays at which they meet a shape, and whether they do."""
    at, hit = np.full(len(origins), near, np.float32), np.zeros(len(origins), bool)
    alive = np.arange(len(origins))
    for _ in range(_STEPS):
        found = distances(origins[alive] + at[alive, None] * directions[alive]).min(0)
        hit[alive[found < _CLOSE]] = True
        at[alive] += np.maximum(found, _CLOSE / 2)
        alive = alive[(found >= _CLOSE) & (at[alive] < far)]
        if not len(alive):
            break
    return at, hit


def colors(origins: Floats, directions: Floats) -> Floats:
    """What rays see [N, 3] in [0, 1]: light of one direction with shadows, the sky's, and a little gloss; white behind.

    Args:
        origins, directions: [N, 3], unit directions.
    """
    found = np.ones(origins.shape, np.float32)
    at, hit = _traced(origins, directions, _NEAR, 5.0)
    rows = np.flatnonzero(hit)
    points = origins[rows] + at[rows, None] * directions[rows]
    which = distances(points).argmin(0)
    paint = np.choose(which[:, None], _paints(points))
    small = np.float32(2e-3) * np.eye(3, dtype=np.float32)
    normals = np.stack([(distances(points + e).min(0) - distances(points - e).min(0)) for e in small], 1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    shadow = _traced(points + 0.01 * normals, np.broadcast_to(_LIGHT, points.shape), 0.0, 2.0)[1]
    lit = np.maximum(normals @ _LIGHT, 0) * ~shadow
    half = _LIGHT - directions[rows]
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    gloss = 0.25 * lit * np.maximum((normals * half).sum(1), 0) ** 24
    shade = 0.4 + 0.15 * normals[:, 2] + 0.55 * lit
    found[rows] = np.clip(paint * shade[:, None] + gloss[:, None], 0, 1)
    return found
