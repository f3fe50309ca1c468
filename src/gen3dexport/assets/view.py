"""A view: the picture that a camera takes of a scene, with what it knows beside colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class View:
    """What a camera sees.

    Attributes:
        colors: uint8 [H, W, 3], row 0 at the top.
        depth: float32 [H, W], distance along each pixel's ray, in the scene's unit.
        accumulation: float32 [H, W] in [0, 1], how much of a pixel the scene covers.
        pose: float64 [4, 4], camera to world; the camera's axes are x right, y up, z toward it.
        field_of_view: degrees from the top to the bottom edge.
    """

    kind: ClassVar[str] = "view"

    colors: NDArray[np.uint8]
    depth: NDArray[np.float32]
    accumulation: NDArray[np.float32]
    pose: NDArray[np.float64]
    field_of_view: float

    def __post_init__(self) -> None:
        size = self.colors.shape[:2]
        if self.colors.ndim != 3 or self.colors.shape[2] != 3:
            raise ValueError(f"colors have shape {list(self.colors.shape)}; need [H, W, 3]")
        for name in ("depth", "accumulation"):
            if (found := getattr(self, name).shape) != size:
                raise ValueError(f"{name} has shape {list(found)}; needs {list(size)}, as the colours")
        if self.pose.shape != (4, 4):
            raise ValueError(f"pose has shape {list(self.pose.shape)}; needs [4, 4]")
