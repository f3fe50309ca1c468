"""What the radiance-field decoder's features mean: per voxel a density and colours factored along the axes. No torch.

Rendering is not part of this: the reference renders with an octree in CUDA, and its rules are not specified.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.errors import UsageError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Factors:
    """The released `representation_config` of a radiance-field decoder: `rank` products of three vectors of `dim`."""

    rank: int
    dim: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Factors:
        """From the released keys.

        Raises:
            UsageError: for a missing key.
        """
        try:
            return cls(config["rank"], config["dim"])
        except KeyError as error:
            raise UsageError(f"representation_config: {error.args[0]}: missing") from error

    @property
    def channels(self) -> int:
        """Width of the decoder's output."""
        return self.rank * (3 * self.dim + 4)


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

    positions: Array
    depth: int
    trivec: Array
    density: Array
    sh: Array

    def scaled(self, factor: int) -> RadianceField:
        """Positions and voxels times `factor`, a power of two, about the centre."""
        positions = ((self.positions - 0.5) * factor + 0.5).astype(np.float32)
        return replace(self, positions=positions, depth=self.depth - round(math.log2(factor)))


def radiance_field(
    features: Array, coords: NDArray[np.integer], factors: Factors, resolution: int = 64
) -> RadianceField:
    """The radiance field of the decoder's features [N, rank (3 dim + 4)] at voxels [N, 3].

    Source: SPEC section 9 (Xiang et al. 2024; trivectors of Gao et al. 2023, "Strivec").
    """
    rank, dim = factors.rank, factors.dim
    trivec, density, colour = np.split(features, [3 * rank * dim, 3 * rank * dim + rank], axis=1)
    return RadianceField(
        positions=((coords.astype(np.float32) + 0.5) / resolution).astype(np.float32),
        depth=round(math.log2(resolution)),
        trivec=trivec.reshape(-1, rank, 3, dim) + np.float32(1),
        density=density,
        sh=colour.reshape(-1, rank, 1, 3),
    )
