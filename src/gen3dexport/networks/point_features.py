"""Features of points for networks of vector sets: themselves, sines and cosines of them times powers of two.

Source: Mildenhall et al. 2020, "NeRF", section 5.1, with the frequencies of Zhang et al. 2023, "3DShape2VecSet".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def frequencies(count: int, times_pi: bool) -> Tensor:
    """The frequencies [count]: 1, 2, 4, ..., times pi where the configuration says so."""
    return 2.0 ** torch.arange(count) * (math.pi if times_pi else 1.0)


def point_features(points: Tensor, frequencies: Tensor) -> Tensor:
    """Features [B, P, 3 + 6 K] of points [B, P, 3]: themselves, sines, cosines; all frequencies of an axis together."""
    angles = (points[..., None] * frequencies).flatten(2)
    return torch.cat([points, angles.sin(), angles.cos()], -1)
