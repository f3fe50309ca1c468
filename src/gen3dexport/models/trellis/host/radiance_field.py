"""What the radiance-field decoder's features mean: density and colours per voxel, factored along axes. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from gen3dexport.assets.radiance_field import RadianceField
from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError

Array = NDArray[np.float32]


class Factors(Record):
    """The released `representation_config` of a radiance-field decoder: `rank` products of three vectors of `dim`."""

    rank: int = Field(ge=1, le=1024)
    dim: int = Field(ge=1, le=1024)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Factors:
        """From the released keys.

        Raises:
            UsageError: for a key that is missing or has no such value.
        """
        try:
            return cls.model_validate({"rank": config["rank"], "dim": config["dim"]}, strict=True)
        except KeyError as error:
            raise UsageError(f"representation_config: {error.args[0]}: missing; copy the file again") from error
        except ValidationError as error:
            raise UsageError(f"representation_config: {told(error)}; copy the file again") from error

    @property
    def channels(self) -> int:
        """Width of the decoder's output."""
        return self.rank * (3 * self.dim + 4)


def radiance_field(
    features: Array, coords: NDArray[np.integer], factors: Factors, resolution: int = 64
) -> RadianceField:
    """The radiance field of the decoder's features [N, rank (3 dim + 4)] at voxels [N, 3].

    Source: Xiang et al. 2024, "Structured 3D Latents for Scalable and Versatile 3D Generation", radiance fields;
    trivectors of Gao et al. 2023, "Strivec".
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
