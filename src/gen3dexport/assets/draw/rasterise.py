"""A z-buffer over triangles, vectorised in NumPy: pictures and shadow maps are drawn with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CANDIDATES = 1 << 17  # pixel-triangle pairs tested at once: bounds the memory, and keeps it in the processor's cache
_HAIR = -1e-9  # how far over an edge a centre may lie, so that shared edges leave no gap


@dataclass(frozen=True, eq=False)
class _Triangles:
    """Triangles on the screen, those that may cover a pixel's centre.

    Attributes:
        face: [T] which of the faces given.
        left, top: [T] first pixel of the bounding box; columns, rows: [T] its size, at least 1.
        first, second, nearness: weight of the first corner, of the second, and nearness, each as three [T]: the value
            at the box's first pixel, what a column adds, what a row adds.
    """

    face: Ints
    left: Ints
    top: Ints
    columns: Ints
    rows: Ints
    first: tuple[Floats, Floats, Floats]
    second: tuple[Floats, Floats, Floats]
    nearness: tuple[Floats, Floats, Floats]


def rasterise(points: Floats, faces: Ints, height: int, width: int) -> tuple[Ints, Floats]:
    """Which triangle each pixel sees.

    Args:
        points: [V, 3]: column and row in pixels (the centre of pixel i is i + 0.5), and nearness: the greatest wins.
        faces: [F, 3]; both sides are drawn.

    Returns:
        The face of each pixel [H, W], -1 where there is none; and the barycentric weights [H, W, 3] on the screen.
    """
    triangles = _on_screen(points, faces, height, width)
    nearest = np.full(height * width, -np.inf)
    winner = np.full(height * width, -1)
    for which, pixel, nearness in _hits(triangles, width):
        np.maximum.at(nearest, pixel, nearness)
        wins = np.flatnonzero(nearness == nearest[pixel])
        winner[pixel[wins]] = which[wins]
    drawn = np.flatnonzero(winner >= 0)
    which = winner[drawn]
    row, column = np.divmod(drawn, width)
    x, y = (column - triangles.left[which]).astype(np.float64), (row - triangles.top[which]).astype(np.float64)
    one, two = (_at(plane, which, x, y) for plane in (triangles.first, triangles.second))
    weights, seen = np.zeros((height * width, 3)), np.full(height * width, -1)
    weights[drawn] = np.stack([one, two, 1 - one - two], axis=1)
    seen[drawn] = triangles.face[which]
    return seen.reshape(height, width), weights.reshape(height, width, 3)


def nearness_map(points: Floats, faces: Ints, height: int, width: int) -> Floats:
    """Nearness [H, W] of what each pixel sees, -inf where there is nothing; arguments as of `rasterise`."""
    nearest = np.full(height * width, -np.inf)
    for _, pixel, nearness in _hits(_on_screen(points, faces, height, width), width):
        np.maximum.at(nearest, pixel, nearness)
    return nearest.reshape(height, width)


def _on_screen(points: Floats, faces: Ints, height: int, width: int) -> _Triangles:
    x, y, near = (np.take(np.ascontiguousarray(points[:, axis]), faces.T) for axis in range(3))  # [3, F] each
    left, columns = _box(x, width)
    top, rows = _box(y, height)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    face = np.flatnonzero((columns > 0) & (rows > 0) & (area != 0))
    left, top, columns, rows, area = (values[face] for values in (left, top, columns, rows, area))
    x, y, near = x[:, face] - (left + 0.5), y[:, face] - (top + 0.5), near[:, face]
    first, second = (
        ((x[k] * y[m] - x[m] * y[k]) / area, (y[k] - y[m]) / area, (x[m] - x[k]) / area) for k, m in ((1, 2), (2, 0))
    )
    flat = zip((near[2], 0.0, 0.0), first, second, strict=True)
    start, across, down = (c + one * (near[0] - near[2]) + two * (near[1] - near[2]) for c, one, two in flat)
    return _Triangles(face, left, top, columns, rows, first, second, (start, across, down))


def _box(values: Floats, pixels: int) -> tuple[Ints, Ints]:
    """First pixel, and how many, whose centres lie between the least and the greatest of [3, F]."""
    a, b, c = values
    low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c) - 0.5), 0).astype(np.int64)
    high = np.minimum(np.floor(np.maximum(np.maximum(a, b), c) - 0.5), pixels - 1).astype(np.int64)
    return low, high - low + 1


def _hits(triangles: _Triangles, width: int) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Pixels whose centres triangles cover, some triangles at a time: the triangle, the pixel, nearness there."""
    count = triangles.columns * triangles.rows
    chunk_of = np.cumsum(count) // _CANDIDATES
    for picked in np.split(np.arange(len(count)), np.flatnonzero(np.diff(chunk_of)) + 1):
        many = count[picked]
        which = np.repeat(picked, many)
        rank = np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
        row, column = np.divmod(rank, triangles.columns[which])
        x, y = column.astype(np.float64), row.astype(np.float64)
        one, two = _at(triangles.first, which, x, y), _at(triangles.second, which, x, y)
        hit = np.flatnonzero((one >= _HAIR) & (two >= _HAIR) & (one + two <= 1 - _HAIR))
        which, column, row = which[hit], column[hit], row[hit]
        pixel = (triangles.top[which] + row) * width + triangles.left[which] + column
        yield which, pixel, _at(triangles.nearness, which, x[hit], y[hit])


def _at(plane: tuple[Floats, Floats, Floats], which: Ints, x: Floats, y: Floats) -> Floats:
    """Values of triangles' planes so many columns and rows from their boxes' first pixels."""
    start, across, down = plane
    value: Floats = start[which] + across[which] * x + down[which] * y
    return value
