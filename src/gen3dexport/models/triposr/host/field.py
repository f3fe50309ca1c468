"""The density field on a grid, queried where the surface is. No torch.

A grid of R points an edge fills the cube [-1, 1]^3. Every `coarse`-th point is queried, then the whole of every block
between them that the surface enters. A block is entered when the known points on it are on both sides, so the search
follows a surface from block to block; what it leaves out is a part that no coarse point and no known surface touches.
Where it leaves nothing out the surface is that of the whole grid, number by number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Query = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Points [N, 3] in [-1, 1]^3 -> their density [N]."""

_OUTSIDE, _INSIDE = 1, 2


@dataclass(frozen=True)
class Field:
    """A density field around its surface.

    Attributes:
        density: [R, R, R] by x, y, z; where it was not queried 0 outside of the surface and twice its density inside.
        queries: points that were queried.
    """

    density: NDArray[np.float32]
    queries: int


def grid_points(resolution: int, index: NDArray[np.integer] | None = None) -> NDArray[np.float32]:
    """Points [N, 3] of the grid by their flat index (z fastest), all of them when None, in [-1, 1]^3."""
    line = np.linspace(0, 1, resolution, dtype=np.float32) * 2 - 1
    flat = np.arange(resolution**3) if index is None else index
    return np.stack([line[i] for i in np.unravel_index(flat, (resolution,) * 3)], -1)


def sample(query: Query, resolution: int, coarse: int, threshold: float) -> Field:
    """The field that `query` gives, known wherever its surface at density `threshold` is found.

    Args:
        resolution: R, grid points an edge; coarse: grid steps between points that are queried first.
    """
    density = np.zeros(resolution**3, np.float32)
    side = np.zeros(resolution**3, np.uint8)
    corners = np.unique([*range(0, resolution - 1, coarse), resolution - 1])

    def ask(wanted: NDArray[np.bool_]) -> int:
        (index,) = np.nonzero(wanted.ravel() & (side == 0))
        density[index] = query(grid_points(resolution, index))
        side[index] = np.where(density[index] > threshold, _INSIDE, _OUTSIDE)
        return len(index)

    first = np.zeros((resolution,) * 3, bool)
    first[np.ix_(corners, corners, corners)] = True
    queries, done = ask(first), np.zeros((len(corners) - 1,) * 3, bool)
    while True:
        sides = _of_blocks(side.reshape(first.shape), corners)
        entered = (sides == (_OUTSIDE | _INSIDE)) & ~done
        if not entered.any():
            break
        done |= entered
        queries += ask(_points_of(entered, corners))
    inside = _points_of(sides == _INSIDE, corners).ravel()  # blocks not entered have one side
    density[(side == 0) & inside] = 2 * threshold
    return Field(density.reshape(first.shape), queries)


def _of_blocks(side: NDArray[np.uint8], corners: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Which sides the points on each block are on, both ends included: [R, R, R] -> [B, B, B]."""
    for axis in range(3):
        ends = np.take(side, corners[1:], axis)
        side = np.bitwise_or.reduceat(side, corners[:-1], axis) | ends
    return side


def _points_of(blocks: NDArray[np.bool_], corners: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The points on the chosen blocks, both ends included: [B, B, B] -> [R, R, R]."""
    resolution = int(corners[-1]) + 1
    below = np.searchsorted(corners, np.arange(resolution), "right") - 1  # the block that a point begins or is in
    above = np.searchsorted(corners, np.arange(resolution), "left") - 1  # the block that it ends or is in
    last = len(corners) - 2
    for axis in range(3):
        low, high = np.clip(above, 0, last), np.clip(below, 0, last)
        blocks = np.take(blocks, low, axis) | np.take(blocks, high, axis)
    return blocks
