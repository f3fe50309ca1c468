"""Occupied voxels of the unit cube, and how alike two grids are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.score import Scale, Score

KIND = "voxels"
IOU = Scale("iou")
SCALES = (IOU,)


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


def arrays(voxels: Voxels) -> dict[str, NDArray[Any]]:
    """`occupancy`."""
    return {"occupancy": voxels.occupancy}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Voxels:
    """The voxels of their arrays."""
    return Voxels(arrays["occupancy"])


FILES: Mapping[str, FileFormat] = {".npz": npz(arrays, up="z")}


def problem(voxels: Voxels) -> str | None:
    """No voxel is occupied."""
    return None if voxels.occupancy.any() else "no voxel is occupied"


def counts(voxels: Voxels) -> dict[str, int]:
    """Occupied voxels, and the grid's resolution."""
    return {"voxels": int(voxels.occupancy.sum()), "resolution": len(voxels.occupancy)}


def picture(voxels: Voxels) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the occupied voxels' surface."""
    from gen3dexport.assets.draw.render import turntable
    from gen3dexport.assets.mesh import from_occupancy_logits

    return turntable(from_occupancy_logits(np.where(voxels.occupancy, 1.0, -1.0)))


def scores(voxels: Voxels, reference: Voxels) -> tuple[Score, ...]:
    """Intersection over union; 1 when both are empty.

    Raises:
        ValueError: when the grids differ in resolution.
    """
    from gen3dexport.assets.metrics import occupancy_iou

    return (IOU(occupancy_iou(voxels.occupancy, reference.occupancy)),)
