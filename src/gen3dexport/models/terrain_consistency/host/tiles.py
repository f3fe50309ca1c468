"""Maps larger than the network's, in tiles that overlap and fade into each other. No torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_LEAST = 1e-3  # of a weight, so that a map's corner has some

Floats = NDArray[np.float32]


def starts(size: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an edge of `size` cells; the last one ends with the map."""
    return sorted({*range(0, size - tile + 1, tile - overlap), size - tile})


def in_tiles(make: Callable[[Floats], Floats], canvas: Floats, tile: int, overlap: int) -> Floats:
    """What `make` makes of every tile [tile, tile] of a canvas [H, W], faded into one map [H, W]."""
    fade = np.maximum(np.hanning(tile), _LEAST)
    weight = np.outer(fade, fade)
    if canvas.shape == (tile, tile):
        return make(canvas)
    total, weights = np.zeros(canvas.shape), np.zeros(canvas.shape)
    for top in starts(canvas.shape[0], tile, overlap):
        for left in starts(canvas.shape[1], tile, overlap):
            place = slice(top, top + tile), slice(left, left + tile)
            total[place] += weight * make(canvas[place])
            weights[place] += weight
    result: Floats = (total / weights).astype(np.float32)
    return result
