"""A feature map: a vector per pixel or patch of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Vectors on a grid.

    Attributes:
        features: float32 [H, W, C], row 0 at the top.
    """

    kind: ClassVar[str] = "feature_map"

    features: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.features.ndim != 3:
            raise ValueError(f"features have shape {list(self.features.shape)}; need [H, W, C]")
