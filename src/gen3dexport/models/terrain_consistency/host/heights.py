"""Heights and what the network knows them by: values in [-1, 1], fine near the ground and coarse high up. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.terrain_consistency.host.conditioning import SIGMA_MAX, SIGMA_MIN

HIGHEST = 22.16864013671875
"""The greatest height, in metres."""
KNEE = 0.1
"""Metres up to which values are about linear in height."""
SPAN = float(np.arcsinh(HIGHEST / KNEE))
"""What a value of 1 has as its inverse hyperbolic sine."""


def heights(values: NDArray[Any]) -> NDArray[np.float32]:
    """Metres above the lowest point, of values [..., H, W] in [-1, 1]."""
    raised = KNEE * np.sinh((values.astype(np.float64) + 1) / 2 * SPAN)
    found = np.clip(raised, 0, HIGHEST)
    result: NDArray[np.float32] = (found - found.min((-2, -1), keepdims=True)).astype(np.float32)
    return result


def values_of(metres: NDArray[Any]) -> NDArray[np.float32]:
    """Values in [-1, 1] of heights [..., H, W] in metres, the lowest of which becomes the ground."""
    raised = metres.astype(np.float64) - metres.min()
    found: NDArray[np.float32] = np.clip(2 * np.arcsinh(raised / KNEE) / SPAN - 1, -1, 1).astype(np.float32)
    return found


def sigma_of(strength: float) -> float:
    """The noise of a variation: from the least (strength 0: hardly a change) to the greatest (1: another terrain)."""
    return float(SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** strength)
