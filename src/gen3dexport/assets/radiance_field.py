"""A sparse radiance field: per voxel a density and colours, factored along the axes.

Rendering follows rules of this project (`draw.field_render`): the published model's renderer has no specification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RadianceField:
    """A sparse radiance field.

    Attributes:
        positions: [N, 3] centres of the voxels in [0, 1].
        depth: log2 of the grid's resolution.
        trivec: [N, rank, 3, dim] vectors along the three axes, whose product is a component's weight.
        density: [N, rank] density of each component, before its activation.
        sh: [N, rank, 1, 3] degree-0 spherical harmonics of each component's colour.
    """

    kind: ClassVar[str] = "radiance_field"

    positions: Array
    depth: int
    trivec: Array
    density: Array
    sh: Array

    def scaled(self, factor: int) -> RadianceField:
        """Positions and voxels times `factor`, a power of two, about the centre."""
        positions = ((self.positions - 0.5) * factor + 0.5).astype(np.float32)
        return replace(self, positions=positions, depth=self.depth - round(math.log2(factor)))
