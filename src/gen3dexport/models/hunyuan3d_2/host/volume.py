"""How the release decodes its field: a grid, or levels of grids, each asked near what the last one found. No torch.

`models.surface_search` is what bundles are run with: it asks fewer points for the same surface. This is the release's
own way, in float32 where the release's plain one multiplies integers, which golden sets of it are held against.
Sources: Zhao et al. 2025, "Hunyuan3D 2.0"; Lai et al. 2025, "Unleashing Vecset Diffusion Model for Fast Shape
Generation" (FlashVDM).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.hunyuan3d_2.host.pipeline import BOUND

Ask = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Points [N, 3] -> their values [N]."""
Marks = NDArray[np.bool_]

LEAST = 63
"""Grid steps below which no level goes, as released."""
_UNKNOWN = np.float32(-10000)
"""Of points that were not asked, while levels are made; NaN at the end."""
_HOLE = np.float32(-9000)  # below it a value is of a point that was not asked
_NEAR = np.float32(0.95)  # a value this small is of a point near the surface


@dataclass(frozen=True)
class Volume:
    """A field on a grid of R + 1 points an edge.

    Attributes:
        values: [R + 1, R + 1, R + 1] by x, y, z; NaN where it was not asked.
        asked: points that were asked at each level.
    """

    values: NDArray[np.float32]
    asked: tuple[int, ...]


def points(index: NDArray[np.integer], resolution: int, bound: float = BOUND) -> NDArray[np.float32]:
    """Points of the grid by their index [N, 3], from 0 to R, in the cube of half edge `bound`."""
    return (index.astype(np.float32) * np.float32(2 * bound / resolution) - np.float32(bound)).astype(np.float32)


def hierarchical_levels(resolution: int, least: int = LEAST) -> tuple[int, ...]:
    """Grid steps an edge at each level: R, halved as long as it is not below `least`, rising; R alone below it."""
    levels = [resolution]
    while levels[-1] // 2 >= max(least, 1):
        levels.append(levels[-1] // 2)
    return tuple(reversed(levels))


def mini_grid_levels(resolution: int, least: int = LEAST) -> tuple[int, ...]:
    """Those of the variant whose first level is cut into grids of four points: 4 round(r / 4) - 1, then doubled."""
    first, *others = hierarchical_levels(resolution, least)
    coarse = 4 * round(first / 4) - 1
    return tuple(coarse * 2**i for i in range(1 + len(others)))


def decode(ask: Ask, levels: tuple[int, ...], level: float = 0.0, bound: float = BOUND) -> Volume:
    """The field that `ask` gives, all of the first level's grid and of each next one what lies near the surface.

    Args:
        levels: grid steps an edge at each level, each twice the last; one alone asks the whole grid.
        level: added to values before their sign is taken, as the release adds it.
        bound: half the edge of the cube.
    """
    first, *others = levels
    line = np.linspace(-bound, bound, first + 1, dtype=np.float32)
    values = ask(np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3))
    field, asked = values.reshape((first + 1,) * 3), [len(values)]
    for i, steps in enumerate(others):
        last = i == len(others) - 1
        near = _near(field, np.float32(level))
        marked = np.zeros((steps + 1,) * 3, bool)
        fine = np.argwhere(near if last else _dilated(near)) * 2
        fine = fine[(fine <= steps).all(-1)]
        marked[tuple(fine.T)] = True
        marked = _dilated(_dilated(marked)) if last else _dilated(marked)
        index = np.argwhere(marked)
        field = np.full(marked.shape, _UNKNOWN, np.float32)
        field[tuple(index.T)] = ask(points(index, steps, bound))
        asked.append(len(index))
    return Volume(np.where(field < _HOLE, np.float32(np.nan), field), tuple(asked))


def release_surface(
    volume: Volume, level: float = 0.0, bound: float = BOUND
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices [V, 3] and faces [F, 3] as the release extracts them, before it turns the faces.

    It divides by R + 1 where the grid has R steps, so its mesh is smaller than the field's by that; `models.isosurface`
    does not. A cell with a point that was not asked has no face.
    """
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(volume.values, level, method="lewiner")
    placed = vertices / np.float32(len(volume.values)) * np.float32(2 * bound) - np.float32(bound)
    return placed.astype(np.float32), faces


def _near(field: NDArray[np.float32], level: np.float32) -> Marks:
    """Points whose sign is not that of one of their six neighbours, or whose value is small; all were asked."""
    known = field > _HOLE
    sign = np.sign(field + level)
    found = np.abs(field) < _NEAR
    for axis in range(3):
        for step in (-1, 1):
            place = np.clip(np.arange(field.shape[axis]) + step, 0, field.shape[axis] - 1)
            beside = np.take(known, place, axis)
            found |= beside & (np.take(sign, place, axis) != sign)
    marks: Marks = found & known
    return marks


def _dilated(marks: Marks) -> Marks:
    """The marks with every point of the 3^3 around each."""
    for axis in range(3):
        grown = marks.copy()
        first, rest = [slice(None)] * 3, [slice(None)] * 3
        first[axis], rest[axis] = slice(None, -1), slice(1, None)
        grown[tuple(first)] |= marks[tuple(rest)]
        grown[tuple(rest)] |= marks[tuple(first)]
        marks = grown
    return marks
