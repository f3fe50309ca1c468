"""The true depth of scikit-image's stereo pair (Scharstein et al. 2014), and how predictions are judged. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FOCAL, BASELINE, OFFSET = 994.978, 0.193001, 31.086
"""Focal length in pixels, distance of the cameras in metres, and how far their principal points are apart in pixels."""
_LEAST = 1 / 100  # of a fitted disparity: depths end at 100 m

Doubles = NDArray[np.float64]


def disparity() -> NDArray[Any]:
    """How far left each pixel of the left picture lies in the right one, [500, 741]; infinite where nobody knows."""
    from skimage import data

    found: NDArray[Any] = data.stereo_motorcycle()[2]
    return found


def depth_of(disparities: NDArray[Any]) -> Doubles:
    """Metres along the camera's axis; NaN where the disparity is not known."""
    known = np.isfinite(disparities) & (disparities > 0)
    shifted = np.where(known, disparities, 1).astype(np.float64) + OFFSET
    return np.where(known, FOCAL * BASELINE / shifted, np.nan)


def judged(predicted: NDArray[Any], true: NDArray[Any]) -> Doubles:
    """AbsRel, the share within a factor of 1.25, and RMSE of depths; what is not positive counts as failed."""
    p, g = predicted.astype(np.float64), true.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = (p > 0) & (np.maximum(p / g, g / p) < 1.25)
    return np.array([np.mean(np.abs(p - g) / g), near.mean(), np.sqrt(np.mean((p - g) ** 2))])


def fitted(predicted: NDArray[Any], wanted: NDArray[Any]) -> tuple[float, float]:
    """Scale and shift of the least squared error."""
    p, g = predicted.astype(np.float64), wanted.astype(np.float64)
    matrix = np.stack([p, np.ones_like(p)], -1)
    scale, shift = np.linalg.lstsq(matrix, g, rcond=None)[0]
    return float(scale), float(shift)


def alignments(depth: NDArray[Any], disparities: NDArray[Any], true: NDArray[Any]) -> dict[str, Doubles]:
    """A predicted depth and a predicted disparity against the true depth [N], aligned in every usual way."""
    p, q, g = (values.astype(np.float64) for values in (depth, disparities, true))
    s, t = fitted(p, g)
    a, b = fitted(q, 1 / g)
    return {
        "none": judged(p, g),
        "median_scale": judged(np.median(g / p) * p, g),
        "ls_scale": judged((p @ g) / (p @ p) * p, g),
        "ls_scale_shift": judged(s * p + t, g),
        "s_t": np.array([s, t]),
        "disparity_scale_shift": judged(1 / np.maximum(a * q + b, _LEAST), g),
        "s_t_disparity": np.array([a, b]),
    }
