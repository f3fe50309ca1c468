"""The cells that a shape's surface crosses, and the shape's distances, parts and colours on a lattice in each.

Cells are those of `structure_stage.crossed_cells`: cell c of the 32^3 grid has its centre at c / 16 - 1 in [-1, 1]^3.
Distances are in cells, clipped to [-1, 1]. A lattice has 5^3 points per cell, the last axis fastest, faces included:
they are the corners of the 4^3 small cubes that the mesh decoder makes of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dexport.models.trellis.host.structure_stage import crossed_cells
from gen3dexport.models.trellis.host.voxel_tables import CHILDREN
from training.trellis_mini.looks import Colors, Look, paint
from training.trellis_mini.sdf import RESOLUTION
from training.trellis_mini.shapes import Shape, field, occupancy

CELL = 2 / RESOLUTION
LATTICE = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(125, 3)
COARSE = np.flatnonzero((LATTICE % 2 == 0).all(1))  # 27 points: corners, middles of edges and faces, the centre
OCTANTS = np.flatnonzero((LATTICE % 2 == 1).all(1))  # 8 points: the middles of the octants
SEEN = np.concatenate([COARSE, OCTANTS])  # where the encoder knows the distance
MIDDLE = np.array([62])  # the centre alone
FEATURES = len(SEEN) + 3 * len(OCTANTS)

_CORNERS = np.array([[k & 1, k >> 1 & 1, k >> 2 & 1] for k in range(8)])
_PLACE = np.array([25, 5, 1])
_BLOCK = 4


def corner_points() -> NDArray[np.int64]:
    """Lattice point [64, 8] at each corner of each small cube, in the order of the mesh decoder's rows."""
    small = (2 * CHILDREN[:, None] + CHILDREN[None]).reshape(64, 3)
    result: NDArray[np.int64] = (small[:, None] + _CORNERS) @ _PLACE
    return result


@dataclass(frozen=True)
class Cells:
    """Cells of one shape.

    Attributes:
        coords: [N, 3]; chosen: [P] which lattice points the rest is known at.
        distance: [N, P] float32; second: [N, P] whether the accent is nearest.
    """

    coords: NDArray[np.int32]
    chosen: NDArray[np.int64]
    distance: NDArray[np.float32]
    second: NDArray[np.bool_]

    def points(self, which: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The lattice points [N, P, 3] in [-1, 1]^3."""
        return lattice_points(self.coords, self.chosen if which is None else which)

    def colors(self, look: Look, which: NDArray[np.int64]) -> Colors:
        """Colours [N, W, 3] at lattice points `which`, all of them chosen."""
        column = np.searchsorted(self.chosen, which)
        points = self.points(which).reshape(-1, 3)
        return paint(look, points, self.second[:, column].reshape(-1)).reshape(len(self.coords), -1, 3)

    def features(self, look: Look) -> Tensor:
        """What the encoder sees, [N, 59]: distances at `SEEN`, colours (minus 1/2) at `OCTANTS`."""
        column = np.searchsorted(self.chosen, SEEN)
        colors = self.colors(look, OCTANTS).reshape(len(self.coords), -1)
        return torch.from_numpy(np.concatenate([self.distance[:, column], colors - np.float32(0.5)], 1))


def lattice_points(coords: NDArray[np.int32], which: NDArray[np.int64]) -> NDArray[np.float32]:
    """Lattice points [N, W, 3] of cells in [-1, 1]^3."""
    at = coords[:, None] - 0.5 + LATTICE[which] / 4
    return (at * CELL - 1).astype(np.float32)


def cells_of(shape: Shape) -> NDArray[np.int32]:
    """The cells [N, 3] that a shape's occupancy crosses."""
    return crossed_cells(occupancy(*shape))


def sample_cells(shape: Shape, coords: NDArray[np.int32], all_points: bool = True) -> Cells:
    """Distances and parts in cells of a shape, at the whole lattice or only where the encoder looks."""
    chosen = np.arange(125) if all_points else np.sort(SEEN)
    distance, second = field(*shape, lattice_points(coords, chosen).reshape(-1, 3))
    size = len(coords), len(chosen)
    return Cells(coords, chosen, np.clip(distance / CELL, -1, 1).reshape(size), second.reshape(size))


def box_of_cells(
    coords: NDArray[np.int32],
    generator: np.random.Generator,
    most: int,
    centres: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Rows of `coords` inside a random axis-aligned box with at most `most` of them; all rows if they are no more.

    The box is around a random cell, one of `centres` if given, and is made of whole blocks of 4^3 cells, the windows of
    the encoder and the decoders.
    """
    if len(coords) <= most:
        return np.arange(len(coords))
    rows = np.arange(len(coords)) if centres is None or not centres.any() else np.flatnonzero(centres)
    block = coords // _BLOCK
    stretch = np.exp(generator.normal(0, 0.5, 3))
    reach = (np.abs(block - block[generator.choice(rows)]) / stretch).max(1)
    levels = np.unique(reach)
    sizes = np.searchsorted(np.sort(reach), levels, side="right")
    fitting = levels[sizes <= most]
    if not len(fitting):
        return np.sort(generator.choice(np.flatnonzero(reach == levels[0]), most, replace=False))
    return np.flatnonzero(reach <= fitting[-1])


def with_surroundings(coords: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of `coords` in the blocks of `rows` and those beside them: what the encoder's two blocks look at."""
    side = RESOLUTION // _BLOCK + 2
    marked = np.zeros((side,) * 3, bool)
    marked[tuple((coords[rows] // _BLOCK + 1).T)] = True
    for axis in range(3):
        marked |= np.roll(marked, 1, axis) | np.roll(marked, -1, axis)
    return np.flatnonzero(marked[tuple((coords // _BLOCK + 1).T)])
