"""A scalar field on a grid, queried where its surface is: from coarse to fine, as in an octree. No torch.

A grid of R points an edge fills the cube [-1, 1]^3. Every `coarse`-th point is queried, then block by block every
second of the points between them, and so on to the last. A block is entered when the known points on it are on both
sides of the surface, at every level and however small the blocks are whose points say so: the search follows a surface
from block to block, and comes back to large blocks that it meets from within. What it leaves out is a part that no
coarse point and no known surface touches. Where it leaves nothing out the surface is that of the whole grid, number by
number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Query = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Points [N, 3] in [-1, 1]^3 -> their values [N]."""

Blocks = NDArray[np.bool_]
Lines = NDArray[np.integer]
"""Places of an axis, rising from 0 to R - 1, between which the blocks of one level lie."""

_OUTSIDE, _INSIDE, _ASKED = 1, 2, 4


@dataclass(frozen=True)
class Field:
    """A field around its surface.

    Attributes:
        values: [R, R, R] by x, y, z; where it was not queried, the level - 1 outside and the level + 1 inside.
        queries: points that were queried; passes: calls that asked for them.
    """

    values: NDArray[np.float32]
    queries: int
    passes: int


def grid_points(resolution: int, index: NDArray[np.integer] | None = None) -> NDArray[np.float32]:
    """Points [N, 3] of the grid by their flat index (z fastest), all of them when None, in [-1, 1]^3."""
    line = np.linspace(0, 1, resolution, dtype=np.float32) * 2 - 1
    flat = np.arange(resolution**3) if index is None else index
    return np.stack([line[i] for i in np.unravel_index(flat, (resolution,) * 3)], -1)


def sample(query: Query, resolution: int, coarse: int, level: float) -> Field:
    """The field that `query` gives, known wherever its surface at `level` is found; above it is inside.

    Args:
        resolution: R, grid points an edge; coarse: grid steps between points that are queried first.
    """
    shape = (resolution,) * 3
    values, side = np.zeros(resolution**3, np.float32), np.zeros(shape, np.uint8)
    known, lines = side.reshape(-1), _lines(resolution, coarse)
    asked = []

    def ask(index: NDArray[np.integer]) -> None:
        values[index] = query(grid_points(resolution, index))
        known[index] = np.where(values[index] > level, _INSIDE, _OUTSIDE)
        asked.append(len(index))

    ask(_unknown(side, lines[0], np.ones((len(lines[0]),) * 3, bool)))
    entered: list[Blocks] = [np.zeros((len(line) - 1,) * 3, bool) for line in lines[:-1]]
    for depth in range(1, len(lines)):
        while True:
            found = [
                (sides == (_OUTSIDE | _INSIDE)) & ~done
                for sides, done in zip(_sides(side, lines[: depth + 1]), entered, strict=False)
            ]
            if not any(blocks.any() for blocks in found):
                break
            wanted = []
            for i, blocks in enumerate(found):
                entered[i] |= blocks
                wanted.append(_unknown(side, lines[i + 1], _points_of(blocks, _places(lines[i], lines[i + 1]))))
                known[wanted[-1]] = _ASKED  # once, though blocks of several levels want it
            if len(index := np.concatenate(wanted)):
                ask(index)
    _fill(values, side, lines, level)
    return Field(values.reshape(shape), sum(asked), len(asked))


def _lines(resolution: int, coarse: int) -> list[Lines]:
    """Places of an axis whose points are known at each level: coarse ones first, all of them last."""
    steps = [coarse]
    while (step := steps[-1]) > 1:
        steps.append(step // next(p for p in range(2, step + 1) if step % p == 0))
    return [np.unique([*range(0, resolution - 1, step), resolution - 1]) for step in steps]


def _places(coarse: Lines, fine: Lines) -> Lines:
    """Where the lines of one level stand among those of a finer one."""
    return np.searchsorted(fine, coarse)


def _on(side: NDArray[np.uint8], lines: Lines) -> NDArray[np.uint8]:
    """The sides of the points on `lines`."""
    return side if len(lines) == len(side) else side[np.ix_(lines, lines, lines)]


def _unknown(side: NDArray[np.uint8], lines: Lines, wanted: Blocks) -> NDArray[np.integer]:
    """Flat indices of the wanted points among those on `lines` whose side is not known."""
    x, y, z = (lines[i] for i in np.nonzero(wanted & (_on(side, lines) == 0)))
    resolution = len(side)
    found: NDArray[np.integer] = (x * resolution + y) * resolution + z
    return found


def _sides(side: NDArray[np.uint8], lines: list[Lines]) -> list[NDArray[np.uint8]]:
    """Which sides the known points on the blocks of every level but the last are on, both ends included."""
    last = lines[-1]
    points, places = _on(side, last), _places(lines[-2], last)
    found = [_united(points, places[:-1], places[1:])]
    for coarse, fine in zip(reversed(lines[:-2]), reversed(lines[1:-1]), strict=True):
        places = _places(coarse, fine)
        found.insert(0, _united(found[0], places[:-1], places[1:] - 1))
    return found


def _united(sides: NDArray[np.uint8], first: Lines, last: Lines) -> NDArray[np.uint8]:
    """The sides of cells `first` to `last` of every axis, both included, together."""
    for axis in range(3):
        found = np.take(sides, first, axis)
        for step in range(1, int((last - first).max(initial=0)) + 1):
            found |= np.take(sides, np.minimum(first + step, last), axis)
        sides = found
    return sides


def _points_of(blocks: Blocks, places: Lines) -> Blocks:
    """The points on the chosen blocks, both ends included: [B, B, B] -> [P, P, P], P points an axis."""
    point = np.arange(int(places[-1]) + 1)
    below = np.searchsorted(places, point, "right") - 1  # the block that a point begins or is in
    above = np.searchsorted(places, point, "left") - 1  # the block that it ends or is in
    last = len(places) - 2
    for axis in range(3):
        low, high = np.clip(above, 0, last), np.clip(below, 0, last)
        blocks = np.take(blocks, low, axis) | np.take(blocks, high, axis)
    return blocks


def _fill(values: NDArray[np.float32], side: NDArray[np.uint8], lines: list[Lines], level: float) -> None:
    """Values of points that were not queried: blocks that were not entered have one side."""
    unknown = side.reshape(-1) == 0
    if not unknown.any():
        return
    values[unknown] = level - 1
    for line, sides in zip(lines, _sides(side, lines), strict=False):
        inside = _points_of(sides == _INSIDE, line).reshape(-1)
        values[unknown & inside] = level + 1
