"""Queries of the field, and what their numbers mean. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.declaration import Call
from gen3dexport.models.point_queries import answers

_LARGEST = 80.0  # exponent from which density would overflow float32

Answers = tuple[NDArray[np.float32], NDArray[np.float32]]


def query(program: Call, planes: Any, points: NDArray[np.float32], chunk: int, xp: Any) -> Answers:
    """Raw density [N] and raw colour [N, 3] at points [N, 3] in [-radius, radius]^3.

    Args:
        program: of the query component: `planes`, `points` [1, chunk, 3] -> `density` [1, chunk, 1], `features`
            [1, chunk, 3].
        planes: what the backbone made.
    """
    found = answers(program, {"planes": planes}, points, chunk, {"density": 1, "features": 3}, xp)
    return found["density"][:, 0], found["features"]


def activated(density: NDArray[np.float32], bias: float) -> NDArray[np.float32]:
    """Density of raw density: exp(raw + bias)."""
    found: NDArray[np.float32] = np.exp(np.minimum(density + np.float32(bias), np.float32(_LARGEST)))
    return found


def color(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colour in [0, 1] of raw colour: sigmoid."""
    half = np.float32(0.5)
    shades: NDArray[np.float32] = half + half * np.tanh(half * features)  # which overflows nowhere
    return shades
