"""An importance map: how much each pixel of a picture matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ImportanceMap:
    """A weight per pixel of a picture.

    Attributes:
        values: float32 [H, W] in [0, 1], row 0 at the top; 1 matters most.
    """

    kind: ClassVar[str] = "importance_map"

    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise ValueError(f"values have shape {list(self.values.shape)}; need [H, W]")
