"""The kind voxels: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.draw.render import render
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.mesh import from_occupancy_logits
from gen3dexport.assets.metrics import occupancy_iou
from gen3dexport.assets.score import Scale, Score
from gen3dexport.assets.voxels import Voxels

KIND = "voxels"
IOU = Scale("iou")


SCALES = (IOU,)


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
    """One view of the occupied voxels' surface."""
    return render(from_occupancy_logits(np.where(voxels.occupancy, 1.0, -1.0)))


def scores(voxels: Voxels, reference: Voxels) -> tuple[Score, ...]:
    """Intersection over union; 1 when both are empty.

    Raises:
        ValueError: when the grids differ in resolution.
    """
    return (IOU(occupancy_iou(voxels.occupancy, reference.occupancy)),)
