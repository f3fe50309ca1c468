"""A z-buffer over triangles, vectorised in NumPy: pictures and shadow maps are drawn with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CANDIDATES = 1 << 19  # pixel-triangle pairs tested at once: bounds the memory


def rasterise(
    points: NDArray[np.float64], faces: NDArray[np.int64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which triangle each pixel sees.

    Args:
        points: [V, 3]: column and row in pixels (the centre of pixel i is i + 0.5), and nearness: the greatest wins.
        faces: [F, 3]; both sides are drawn.

    Returns:
        The face of each pixel [H, W], -1 where there is none; and the barycentric weights [H, W, 3] on the screen.
    """
    corners = points[faces]
    low = np.maximum(np.ceil(corners[:, :, :2].min(1) - 0.5), 0).astype(np.int64)
    high = np.minimum(np.floor(corners[:, :, :2].max(1) - 0.5), (width - 1, height - 1)).astype(np.int64)
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    extent = np.maximum(high - low + 1, 0) * (area != 0)[:, None]
    count = extent.prod(1)
    nearest = np.full(height * width, -np.inf)
    seen = np.full(height * width, -1, dtype=np.int64)
    weights = np.zeros((height * width, 3))
    chunk_of = np.cumsum(count) // _CANDIDATES
    for picked in np.split(np.arange(len(faces)), np.flatnonzero(np.diff(chunk_of)) + 1):
        many = count[picked]
        which = np.repeat(picked, many)
        rank = np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
        row, column = np.divmod(rank, extent[which, 0])
        column, row = column + low[which, 0], row + low[which, 1]
        x, y = column + 0.5, row + 0.5
        w0 = ((b[which, 0] - x) * (c[which, 1] - y) - (c[which, 0] - x) * (b[which, 1] - y)) / area[which]
        w1 = ((c[which, 0] - x) * (a[which, 1] - y) - (a[which, 0] - x) * (c[which, 1] - y)) / area[which]
        w2 = 1 - w0 - w1
        hit = (w0 >= -1e-9) & (w1 >= -1e-9) & (w2 >= -1e-9)  # a hair over, so that shared edges leave no gap
        which, pixel = which[hit], (row * width + column)[hit]
        inside = np.stack([w0[hit], w1[hit], w2[hit]], axis=1)
        depth = (inside * corners[which, :, 2]).sum(1)
        np.maximum.at(nearest, pixel, depth)
        wins = depth == nearest[pixel]
        seen[pixel[wins]] = which[wins]
        weights[pixel[wins]] = inside[wins]
    return seen.reshape(height, width), weights.reshape(height, width, 3)
