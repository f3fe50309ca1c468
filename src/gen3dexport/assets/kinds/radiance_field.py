"""The kind radiance_field: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.draw.field_render import field_turntable, render_field
from gen3dexport.assets.draw.render import around
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.metrics import scores_by_pictures
from gen3dexport.assets.radiance_field import RadianceField
from gen3dexport.assets.score import PSNR, SSIM, Score

KIND = "radiance_field"
SCALES = (SSIM, PSNR)


VIEWS, PIXELS = 4, 96
"""Of the pictures that are compared."""


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
    return field_turntable(field)


def scores(field: RadianceField, reference: RadianceField) -> tuple[Score, ...]:
    """SSIM and PSNR of pictures of four views (see `metrics.picture_quality`)."""
    return against(reference)(field)


def against(reference: RadianceField) -> Callable[[RadianceField], tuple[Score, ...]]:
    """`scores` against this reference, which is drawn once."""
    return scores_by_pictures(reference, arrays, _pictures)


def _pictures(field: RadianceField) -> list[NDArray[np.uint8]]:
    return [render_field(field, azimuth, size=PIXELS, steps=2) for azimuth in around(VIEWS)]
