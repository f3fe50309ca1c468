"""Occupied voxels of the unit cube, and how alike two grids are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Voxels:
    """A grid of voxels.

    Attributes:
        occupancy: bool [R, R, R] by x, y, z; z up. The centre of voxel i is at (i + 0.5) / R - 0.5.
    """

    kind: ClassVar[str] = "voxels"

    occupancy: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shape = self.occupancy.shape
        if self.occupancy.dtype != bool or len(shape) != 3 or len(set(shape)) != 1:
            raise ValueError(f"occupancy is {self.occupancy.dtype}{list(shape)}; need bool [R, R, R] (logits > 0)")
