"""An occupancy grid over all of space, contracted into a cube: which cells are worth a question. No torch.

Source: Mueller et al. 2022, "Instant Neural Graphics Primitives"; the contraction of Barron et al. 2022, "Mip-NeRF
360", in the L-infinity norm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def contracted(positions: Floats) -> Floats:
    """Places [..., 3] in [0, 1] of positions [..., 3]."""
    reach = np.maximum(np.abs(positions).max(-1, keepdims=True), 1)
    places: Floats = ((2 - 1 / reach) * (positions / reach) + 2) / 4
    return places


def spread(places: Floats) -> Floats:
    """Positions [..., 3] of places [..., 3] inside the cube; the inverse of `contracted`."""
    shifted = 4 * places - 2
    reach = np.maximum(np.abs(shifted).max(-1, keepdims=True), 1)
    found: Floats = (shifted / (reach * (2 - reach))).astype(np.float32)
    return found


def filled(density: Callable[[Floats], Floats], count: int, least: float) -> NDArray[np.bool_]:
    """Which cells [G, G, G] are occupied: dense enough in the middle, or beside such a one.

    Args:
        density: points [N, 3] -> [N].
        count: cells along an edge; least: density from which a cell is.
    """
    from scipy.ndimage import maximum_filter

    middles = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)
    places = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), -1).reshape(-1, 3)
    dense = (density(spread(places)) > least).reshape(3 * (count,))
    found: NDArray[np.bool_] = maximum_filter(dense, 3, mode="constant", cval=0)
    return found


def looked_up(occupied: NDArray[np.bool_], positions: Floats) -> NDArray[np.bool_]:
    """Whether positions [..., 3] are in occupied cells."""
    count = len(occupied)
    cells = np.clip((contracted(positions) * count).astype(np.int32), 0, count - 1)
    found: NDArray[np.bool_] = occupied[cells[..., 0], cells[..., 1], cells[..., 2]]
    return found
