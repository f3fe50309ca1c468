"""A sparse radiance field: per voxel a density and colours, factored along the axes; and how alike two are.

Rendering follows rules of this project (`draw.field_render`): the published model's renderer has no specification.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.score import PSNR, SSIM, Score, settled

Array = NDArray[np.float32]

KIND = "radiance_field"
SCALES = (SSIM, PSNR)
VIEWS, PIXELS = 4, 96
"""Of the pictures that are compared."""


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


def arrays(field: RadianceField) -> dict[str, NDArray[Any]]:
    """The attributes by name; `depth` is a scalar."""
    found: dict[str, NDArray[Any]] = {"positions": field.positions, "depth": np.asarray(field.depth, np.int64)}
    return found | {"trivec": field.trivec, "density": field.density, "sh": field.sh}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> RadianceField:
    """The field of its arrays."""
    rest = (arrays[name] for name in ("trivec", "density", "sh"))
    return RadianceField(arrays["positions"], arrays["depth"].item(), *rest)


FILES: Mapping[str, FileFormat] = {".npz": npz(arrays, up="z")}


def problem(field: RadianceField) -> str | None:
    """No voxels, or numbers that are not finite."""
    return not_finite(arrays(field)) or (None if len(field.positions) else "it has no voxels")


def counts(field: RadianceField) -> dict[str, int]:
    """Its voxels."""
    return {"voxels": len(field.positions)}


def picture(field: RadianceField) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the field."""
    from gen3dexport.assets.draw.field_render import field_turntable

    return field_turntable(field)


def scores(field: RadianceField, reference: RadianceField) -> tuple[Score, ...]:
    """SSIM and PSNR of pictures of four views (see `metrics.picture_quality`)."""
    from gen3dexport.assets.draw.field_render import render_field
    from gen3dexport.assets.draw.render import around
    from gen3dexport.assets.metrics import picture_scores

    pair = (field, reference)
    known = settled(SCALES, [not len(f.positions) for f in pair], [not_finite(arrays(f)) is None for f in pair])
    if known is not None:
        return known
    pictures, others = ([render_field(f, azimuth, size=PIXELS, steps=2) for azimuth in around(VIEWS)] for f in pair)
    return picture_scores(pictures, others)
