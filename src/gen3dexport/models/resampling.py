"""Pictures and maps in another size, one axis after the other, as the models' reference code does it. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CUBIC = np.float32(-0.75)  # A of OpenCV's and torch's bicubic


def tent(values: NDArray[np.float32], count: int, axis: int) -> NDArray[np.float32]:
    """Values with `count` places along an axis, bilinear, with antialiasing where they become fewer, pixels as areas.

    Each is a mean under a tent as wide as the new pixels, or the old; torch's `antialias=True`.
    """
    here = values.shape[axis]
    # All in float32: centres that are rounded as the reference's are give its weights.
    scale, one = np.float32(here) / np.float32(count), np.float32(1)
    width = max(scale, one)
    centre = scale * (np.arange(count, dtype=np.float32) + np.float32(0.5))
    first = np.maximum((centre - width + np.float32(0.5)).astype(int), 0)
    last = np.minimum((centre + width + np.float32(0.5)).astype(int), here)
    index = first[:, None] + np.arange((last - first).max())
    weights = np.maximum(one - np.abs((index - centre[:, None] + np.float32(0.5)) * (one / width)), 0)
    weights = np.where(index < last[:, None], weights, 0).astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    shape = [1] * values.ndim
    shape[axis] = count
    made = np.zeros((*values.shape[:axis], count, *values.shape[axis + 1 :]), np.float32)
    for tap in range(weights.shape[1]):
        made += np.take(values, np.minimum(index[:, tap], here - 1), axis) * weights[:, tap].reshape(shape)
    return made


def linear(values: NDArray[np.float32], count: int, axis: int, corners: bool) -> NDArray[np.float32]:
    """Values with `count` places along an axis, bilinear without antialiasing.

    Args:
        corners: first and last places lie on each other; else pixels are areas, and ends are repeated.
    """
    here = values.shape[axis]
    if count == here:
        return values
    steps = np.arange(count, dtype=np.float32)  # places in float32 are rounded as torch's are
    if corners:
        place = steps * np.float32((here - 1) / max(count - 1, 1))
    else:
        half = np.float32(0.5)
        place = np.maximum((steps + half) * np.float32(here / count) - half, 0)
    low = np.minimum(place.astype(int), here - 1)
    high = np.minimum(low + 1, here - 1)
    shape = [1] * values.ndim
    shape[axis] = count
    share = (place - low.astype(np.float32)).reshape(shape)
    made: NDArray[np.float32] = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return made


def cubic(values: NDArray[np.float64], count: int, axis: int) -> NDArray[np.float64]:
    """Values with `count` places along an axis: bicubic (A = -0.75) without antialiasing, ends repeated.

    As OpenCV does it: places and weights are float32, values float64.
    """
    here = values.shape[axis]
    place = ((np.arange(count) + 0.5) * (here / count) - 0.5).astype(np.float32)
    first = np.floor(place).astype(int)
    x, one, a = place - first.astype(np.float32), np.float32(1), _CUBIC
    outer = ((a * (x + one) - 5 * a) * (x + one) + 8 * a) * (x + one) - 4 * a
    inner = [((a + 2) * t - (a + 3)) * t * t + one for t in (x, one - x)]
    weights = (outer, *inner, one - outer - inner[0] - inner[1])
    shape = [1] * values.ndim
    shape[axis] = count
    made = np.zeros((*values.shape[:axis], count, *values.shape[axis + 1 :]))
    for tap, weight in enumerate(weights):
        index = np.clip(first + tap - 1, 0, here - 1)
        made += np.take(values, index, axis) * weight.reshape(shape).astype(np.float64)
    return made
