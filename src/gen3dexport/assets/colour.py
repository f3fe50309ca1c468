"""Colours as displays take them (sRGB) and as linear light.

Source: IEC 61966-2-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def linear_light(encoded: NDArray[Any]) -> Floats:
    """sRGB in [0, 1] to linear light."""
    values = np.asarray(encoded, np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def display_light(linear: NDArray[Any]) -> Floats:
    """Linear light, clipped to [0, 1], to sRGB."""
    value = np.clip(np.asarray(linear, np.float64), 0, 1)
    return np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
