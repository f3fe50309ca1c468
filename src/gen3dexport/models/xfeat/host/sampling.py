"""Values of a map between its pixels, as torch's `grid_sample` reads them with zeros outside. No torch.

Places are told by pixels of a picture p in 0 .. W - 1 and scaled to -1 .. 1 by 2 p / (W - 1) - 1, but read with pixels
as areas: half a pixel apart at the ends, as published. All in float32, so that places between two pixels fall as
published.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def places(points: NDArray[Any], picture: tuple[int, int], size: tuple[int, int]) -> Floats:
    """Where points [N, 2] (x, y) of a picture (height, width) lie in a map of `size`, in its pixels: [N, 2] (x, y)."""
    last = np.array([picture[1] - 1, picture[0] - 1], np.float32)
    scaled = np.float32(2) * (points.astype(np.float32) / last) - np.float32(1)
    edges = np.array([size[1], size[0]], np.float32)
    found: Floats = ((scaled + np.float32(1)) * edges - np.float32(1)) / np.float32(2)
    return found


def nearest(values: Floats, at: Floats) -> Floats:
    """Values [N, C] of the pixels of a map [C, H, W] that places [N, 2] are nearest to."""
    return _taken(values, np.rint(at).astype(int))


def bilinear(values: Floats, at: Floats) -> Floats:
    """Values [N, C] between four pixels of a map [C, H, W]."""
    low = np.floor(at).astype(int)
    return _mixed(values, low, [_linear(at - low, tap) for tap in (0, 1)], (0, 1))


def bicubic(values: Floats, at: Floats) -> Floats:
    """Values [N, C] between sixteen pixels of a map [C, H, W]; Keys' kernel with A = -0.75."""
    low = np.floor(at).astype(int)
    taps = (-1, 0, 1, 2)
    return _mixed(values, low, [_cubic(np.abs(at - low - np.float32(tap))) for tap in taps], taps)


def _linear(share: Floats, tap: int) -> Floats:
    return share if tap else 1 - share


def _cubic(x: Floats) -> Floats:
    a = np.float32(-0.75)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, far).astype(np.float32)


def _mixed(values: Floats, low: NDArray[Any], weights: list[Floats], taps: tuple[int, ...]) -> Floats:
    """Sums over taps in both directions; `weights` are [N, 2] a tap."""
    made = np.zeros((len(low), len(values)), np.float32)
    for i, down in enumerate(taps):
        for j, right in enumerate(taps):
            share = weights[j][:, 0] * weights[i][:, 1]
            made += share[:, None] * _taken(values, low + np.array([right, down]))
    return made


def _taken(values: Floats, at: NDArray[Any]) -> Floats:
    """Values [N, C] of pixels [N, 2] (x, y); 0 outside of the map."""
    _, height, width = values.shape
    within = (at >= 0) & (at < np.array([width, height]))
    inside = within[:, 0] & within[:, 1]
    x, y = np.clip(at[:, 0], 0, width - 1), np.clip(at[:, 1], 0, height - 1)
    return values[:, y, x].T * inside[:, None].astype(np.float32)
