"""Focal length and shift of points that are known but for a shift along the camera's axis. No torch.

Source: Wang et al. 2024, "MoGe: Unlocking Accurate Monocular Geometry Estimation": over s, the sum of squares of
f p / (z + s) - uv, with the f that is best for that s. Focal lengths are relative to half the picture's diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLES = 64
"""Rows and columns of points that are looked at."""
_SCANNED = 257  # shifts that are tried before the search between them
_STEPS = 100  # of the search: each leaves 0.62 of the interval
_GOLDEN = (math.sqrt(5) - 1) / 2
_EDGE = 1e-6  # how near the shift comes to that of the nearest point, in ranges of depth


def span(width: float, height: float) -> tuple[float, float]:
    """Where a picture's right and lower edge lie, with half its diagonal as 1."""
    diagonal = math.hypot(width, height)
    return width / diagonal, height / diagonal


def focal_of(field_of_view: float, width: float, height: float) -> float:
    """Focal length by the degrees from the left to the right edge."""
    return span(width, height)[0] / math.tan(math.radians(field_of_view) / 2)


def samples(points: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Points [N, 3] of a map [H, W, 3] where the mask says so, and their places [N, 2] in the picture."""
    height, width = mask.shape
    rows, columns = (np.arange(SAMPLES) * n // SAMPLES for n in (height, width))
    wide, high = span(width, height)
    across, down = (s * (2 * np.arange(n) + 1 - n) / n for s, n in ((wide, width), (high, height)))
    places = np.stack(np.meshgrid(across[columns], down[rows]), -1)
    kept = mask[np.ix_(rows, columns)]
    return points[np.ix_(rows, columns)][kept].astype(np.float64), places[kept]


def recovered(points: NDArray[np.floating], mask: NDArray[np.bool_], focal: float | None = None) -> tuple[float, float]:
    """Focal length and shift of a map of points [H, W, 3]; (1, 0), or the focal length given, of less than two points.

    Args:
        mask: [H, W] which points count; focal: where it is known, so that the shift alone is looked for.
    """
    found, places = samples(points, mask)
    if len(found) < 2:
        return (1.0 if focal is None else focal), 0.0
    plane, depth = found[:, :2], found[:, 2]

    def best(shift: float) -> tuple[float, float]:
        """The focal length that is best for a shift, and the error with it."""
        seen = plane / (depth + shift)[:, None]
        size = float((seen**2).sum())
        f = focal if focal is not None else float((seen * places).sum()) / size if size > 0 else 1.0
        return f, float(((f * seen - places) ** 2).sum())

    shift = _least(lambda s: best(s)[1], depth)
    return best(shift)[0], shift


def _least(error: Callable[[float], float], depth: Floats) -> float:
    """The shift of the least error: a scan of shifts that leave every point before the camera, then golden section."""
    nearest, reach = float(depth.min()), float(np.ptp(depth)) or max(abs(float(depth.min())), 1e-6)
    # Distances of the nearest point from the camera, from close by to far beyond the whole range.
    tried = np.geomspace(_EDGE, 1e4, _SCANNED) * reach - nearest
    errors = [error(float(s)) for s in tried]
    place = int(np.argmin(errors))
    low, high = float(tried[max(place - 1, 0)]), float(tried[min(place + 1, len(tried) - 1)])
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_a, at_b = error(a), error(b)
    for _ in range(_STEPS):
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - _GOLDEN * (high - low)
            at_a = error(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + _GOLDEN * (high - low)
            at_b = error(b)
    return (low + high) / 2
