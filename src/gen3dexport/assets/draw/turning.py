"""A sequence as moving pictures: while time passes, the camera goes once around what can be turned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.draw.gaussian_render import render_gaussians
from gen3dexport.assets.draw.render import around, render
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.sequence import AssetSequence

Picture = NDArray[np.uint8]

PIXELS = 320
_TURN = 48  # pictures of a turn, at least
_WAIT = 0.1  # seconds of a sequence's only picture


def waits(sequence: AssetSequence) -> NDArray[np.float64]:
    """Seconds that each item is shown, the last one as long as the one before it."""
    steps = np.diff(sequence.times)
    last = steps[-1] if len(steps) else _WAIT
    return np.append(steps, last)


def moving_pictures(
    sequence: AssetSequence, flat: Callable[[Any], Picture], size: int = PIXELS
) -> tuple[list[Picture], NDArray[np.float64]]:
    """Pictures of one size, and the seconds of each.

    Meshes and Gaussians are seen from all around in as many whole runs of the sequence as that takes; other items are
    shown once, as their kind's picture.

    Args:
        flat: an item -> its kind's picture.
        size: pixels of an edge of what is turned.
    """
    items, seconds = sequence.items, waits(sequence)
    if not isinstance(items[0], (Mesh, Gaussians)):
        return _of_one_size([flat(item) for item in items]), seconds
    runs = -(-_TURN // len(items))
    azimuths = around(runs * len(items))
    every = [_seen(items[k % len(items)], azimuth, size) for k, azimuth in enumerate(azimuths)]
    return every, np.tile(seconds, runs)


def _seen(item: Any, azimuth: float, size: int) -> Picture:
    if isinstance(item, Gaussians):
        return render_gaussians(item, azimuth, size=size)
    return render(item, azimuth, size=size)


def _of_one_size(pictures: list[Picture]) -> list[Picture]:
    """Pictures with white to the right and below, so that all are as large as the largest."""
    height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))
    return [
        np.pad(p, ((0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures
    ]
