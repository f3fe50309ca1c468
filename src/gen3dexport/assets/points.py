"""A cloud of points with colours.

Coordinates are the pipeline's: the unit cube [-0.5, 0.5]^3, right-handed, z up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import check_shapes


@dataclass(frozen=True, eq=False)
class Points:
    """N points.

    Attributes:
        positions: float32 [N, 3], z up.
        colors: uint8 [N, 3] RGB as displays take it (sRGB), or None.
        unit: metres that 1 is, where that is known.
    """

    kind: ClassVar[str] = "points"

    positions: NDArray[np.float32]
    colors: NDArray[np.uint8] | None = None
    unit: float | None = None

    def __post_init__(self) -> None:
        check_shapes(len(self.positions), positions=(self.positions, (3,)))
        if self.colors is not None:
            check_shapes(len(self.positions), colors=(self.colors, (3,)))

    def scaled(self, factor: float) -> Points:
        """Times `factor`, about the origin."""
        unit = None if self.unit is None else self.unit / factor
        return replace(self, positions=(self.positions * factor).astype(np.float32), unit=unit)
