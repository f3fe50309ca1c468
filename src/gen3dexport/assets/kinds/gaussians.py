"""The kind gaussians: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets import gaussian_files, usd
from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.draw.gaussian_render import gaussian_turntable, render_gaussians
from gen3dexport.assets.draw.render import around
from gen3dexport.assets.file_format import FileFormat, written_by
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.metrics import scores_by_pictures
from gen3dexport.assets.score import PSNR, SSIM, Score

KIND = "gaussians"
SCALES = (SSIM, PSNR)


VIEWS, PIXELS = 4, 160
"""Of the pictures that are compared."""


FILES: Mapping[str, FileFormat] = {
    ".ply": written_by(gaussian_files.content, ".ply", up="-y"),
    ".splat": written_by(gaussian_files.content, ".splat", up="-y"),
    ".spz": written_by(gaussian_files.content, ".spz", up="y"),
    ".glb": written_by(gaussian_files.content, ".glb", up="y", usual=False),
    **usd.FILES,
}
EDITS: Mapping[str, Callable[[Gaussians, Any], Gaussians]] = {
    "sh_degree": Gaussians.with_degree,
    "size": Gaussians.scaled,
}


def extent(gaussians: Gaussians) -> float:
    """The longest edge of the bounding box of the centres."""
    return float(np.ptp(gaussians.positions, axis=0).max())


def arrays(gaussians: Gaussians) -> dict[str, NDArray[Any]]:
    """The attributes by name."""
    return {field.name: getattr(gaussians, field.name) for field in fields(gaussians)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Gaussians:
    """The Gaussians of their arrays."""
    return Gaussians(**{field.name: arrays[field.name] for field in fields(Gaussians)})


def problem(gaussians: Gaussians) -> str | None:
    """None at all, or numbers that are not finite."""
    return not_finite(arrays(gaussians)) or (None if len(gaussians.positions) else "there are no Gaussians")


def counts(gaussians: Gaussians) -> dict[str, int]:
    """How many there are."""
    return {"gaussians": len(gaussians.positions)}


def picture(gaussians: Gaussians) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the Gaussians."""
    return gaussian_turntable(gaussians)


def scores(gaussians: Gaussians, reference: Gaussians) -> tuple[Score, ...]:
    """SSIM and PSNR of pictures of four views (see `metrics.picture_quality`)."""
    return against(reference)(gaussians)


def against(reference: Gaussians) -> Callable[[Gaussians], tuple[Score, ...]]:
    """`scores` against this reference, which is drawn once."""
    return scores_by_pictures(reference, arrays, _pictures)


def _pictures(gaussians: Gaussians) -> list[NDArray[np.uint8]]:
    return [render_gaussians(gaussians, azimuth, size=PIXELS) for azimuth in around(VIEWS)]
