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
            any unit; positive, and inf where nothing is seen.
        metric: whether depths are in metres.
        field_of_view: degrees from the left to the right edge, or None where it is not known.
    """

    kind: ClassVar[str] = "depth_map"

    depth: NDArray[np.float32]
    metric: bool = False
    field_of_view: float | None = None

    def __post_init__(self) -> None:
        if self.depth.ndim != 2:
            raise ValueError(f"depth has shape {list(self.depth.shape)}; need [H, W]")
