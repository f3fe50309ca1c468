"""The kind view: its arrays, files, pictures and scores."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.flat_pictures import tiff
from gen3dexport.assets.metrics import picture_scores
from gen3dexport.assets.score import PSNR, SSIM, Score, settled
from gen3dexport.assets.view import View

KIND = "view"
SCALES = (SSIM, PSNR)
_WINDOW = 7
"""Pixels that structural similarity needs along an edge."""


def arrays(view: View) -> dict[str, NDArray[Any]]:
    """The attributes by name; `field_of_view` is a scalar."""
    found: dict[str, NDArray[Any]] = {"colors": view.colors, "depth": view.depth, "accumulation": view.accumulation}
    return found | {"pose": view.pose, "field_of_view": np.asarray(view.field_of_view, np.float64)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> View:
    """The view of its arrays."""
    colors, depth, accumulation, pose = (arrays[name] for name in ("colors", "depth", "accumulation", "pose"))
    return View(colors, depth, accumulation, pose, arrays["field_of_view"].item())


def _png(view: View, title: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(view.colors)).save(stream, format="PNG")
    return stream.getvalue()


FILES: Mapping[str, FileFormat] = {
    ".npz": npz(arrays),
    ".png": FileFormat(_png),
    ".tiff": FileFormat(lambda view, title: tiff(view.depth), usual=False),
}
"""A .png has the colours, a .tiff the depths."""


def problem(view: View) -> str | None:
    """No pixels, or numbers that are not finite."""
    return not_finite(arrays(view)) or (None if view.depth.size else "it has no pixels")


def counts(view: View) -> dict[str, int]:
    """Width and height."""
    height, width = view.depth.shape
    return {"width": width, "height": height}


def picture(view: View) -> NDArray[np.uint8]:
    """Its colours."""
    return view.colors


def scores(view: View, reference: View) -> tuple[Score, ...]:
    """SSIM and PSNR of the colours (see `metrics.picture_quality`); pictures below 7 pixels an edge are repeated to it.

    Raises:
        ValueError: when the pictures differ in size.
    """
    pair = (view, reference)
    if view.colors.shape != reference.colors.shape:
        shapes = " and ".join(str(list(v.colors.shape)) for v in pair)
        raise ValueError(f"views differ in size: {shapes}")
    known = settled(SCALES, [not v.depth.size for v in pair], [not_finite(arrays(v)) is None for v in pair])
    if known is not None:
        return known
    repeats = [-(-_WINDOW // edge) for edge in view.depth.shape]
    one, other = (np.tile(v.colors, (*repeats, 1)) for v in pair)
    return picture_scores([one], [other])
