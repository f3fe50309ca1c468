"""The pictures of the scene that are trained on, and those that are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.instant_ngp_nerf.host.cameras import looking_in, rays
from training.nerf_mini.scene import colors

EDGE, FIELD, RADIUS = 128, 45.0, 2.5
"""Pixels of a picture's edge, degrees that it spans, and the cameras' distance from the middle."""
TRAINED, HELD_OUT = 100, 12
"""Numbers of pictures."""
RUNS = Path(__file__).parents[1] / "runs" / "nerf_mini"
"""What training keeps meanwhile; not part of the repository."""

Floats = NDArray[np.float32]
_LOWEST, _HIGHEST = -5.0, 75.0  # elevations


def cameras(count: int, seed: int) -> NDArray[np.float64]:
    """Poses [N, 4, 4] of cameras on a sphere around the scene, by a seed; elevations are even in their sine."""
    draw = np.random.default_rng(seed)
    low, high = np.sin(np.radians([_LOWEST, _HIGHEST]))
    elevations = np.degrees(np.arcsin(draw.uniform(low, high, count)))
    azimuths = draw.uniform(0, 360, count)
    return np.stack([looking_in(a, e, RADIUS) for a, e in zip(azimuths, elevations, strict=True)])


def trained() -> NDArray[np.float64]:
    """The cameras of the pictures that are trained on."""
    return cameras(TRAINED, 0)


def held_out() -> NDArray[np.float64]:
    """The cameras of the others."""
    return cameras(HELD_OUT, 1_000_000)


def pictures(poses: NDArray[np.float64], edge: int = EDGE) -> tuple[Floats, Floats, Floats]:
    """Origins, unit directions and colours of the pixels of every camera, all [N, edge^2, 3]."""
    pairs = [rays(pose, FIELD, (edge, edge)) for pose in poses]
    origins, directions = (np.stack([pair[k] for pair in pairs]) for k in (0, 1))
    shown = np.stack([colors(*pair) for pair in pairs])
    return origins, directions, shown
