"""A depth map: how far away a camera sees the scene, per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class DepthMap:
    """What a camera sees.

    Attributes:
        depth: float32 [H, W], row 0 at the top: distance along the camera's axis, in metres where `metric`, else in
            any unit; positive, and inf where nothing is seen. Where `inverse`, 1 / distance instead, but for an unknown
            factor and an unknown addend: larger is nearer, 0 is the farthest that there is.
        metric: whether depths are in metres.
        field_of_view: degrees from the left to the right edge, or None where it is not known.
        inverse: whether these are inverse depths, which are not metric.
        normals: float32 [H, W, 3], unit normals, x right, y down, z away from the camera, 0 where nothing is seen; or
            None.
    """

    kind: ClassVar[str] = "depth_map"

    depth: NDArray[np.float32]
    metric: bool = False
    field_of_view: float | None = None
    inverse: bool = False
    normals: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.depth.ndim != 2:
            raise ValueError(f"depth has shape {list(self.depth.shape)}; need [H, W]")
        if self.normals is not None and self.normals.shape != (*self.depth.shape, 3):
            raise ValueError(f"normals have shape {list(self.normals.shape)}; need {[*self.depth.shape, 3]}")
        if self.metric and self.inverse:
            raise ValueError("inverse depth is relative, so it is not metric")
