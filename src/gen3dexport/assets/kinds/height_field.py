"""The kind height_field: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.draw.render import turntable
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.flat_pictures import grey16, steps16, tiff
from gen3dexport.assets.height_field import HeightField
from gen3dexport.assets.kinds import mesh
from gen3dexport.assets.score import Scale, Score, distance, settled

KIND = "height_field"
SCALES = (Scale("within_1pct"), distance("rmse"))


def arrays(field: HeightField) -> dict[str, NDArray[Any]]:
    """`heights` and `edge`."""
    return {"heights": field.heights, "edge": np.asarray(field.edge, np.float64)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> HeightField:
    """The height field of its arrays."""
    return HeightField(arrays["heights"], arrays["edge"].item() if "edge" in arrays else 1.0)


def _heightmap(field: HeightField) -> bytes:
    """A PNG of 16 bits over the heights' own range, which its text entries say, with the map's edge."""
    said = {"low": float(field.heights.min()), "high": float(field.heights.max()), "edge": field.edge}
    steps = steps16(field.heights, said["low"], said["high"])
    return grey16(steps, {name: f"{value:.9g}" for name, value in said.items()})


def _as_mesh(format_: FileFormat) -> FileFormat:
    return replace(format_, usual=False, write=lambda field, title: format_(field.mesh(), title))


FILES: Mapping[str, FileFormat] = {
    ".npz": npz(arrays, up="z"),
    ".tiff": FileFormat(lambda field, title: tiff(field.heights)),
    ".png": FileFormat(lambda field, title: _heightmap(field)),
    **{ending: _as_mesh(format_) for ending, format_ in mesh.FILES.items()},
}


EDITS: Mapping[str, Callable[[HeightField, Any], HeightField]] = {"size": HeightField.scaled}


def extent(field: HeightField) -> float:
    """The longest edge of its bounding box."""
    return max(field.edge, float(np.ptp(field.heights)))


def problem(field: HeightField) -> str | None:
    """Numbers that are not finite."""
    return not_finite(arrays(field))


def counts(field: HeightField) -> dict[str, int]:
    """Width and height of the grid."""
    height, width = field.heights.shape
    return {"width": width, "height": height}


def picture(field: HeightField) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the surface."""
    return turntable(field.mesh())


def scores(field: HeightField, reference: HeightField) -> tuple[Score, ...]:
    """The share of points whose heights differ by at most a hundredth of the reference's range, and the root mean
    square of the differences in edges of the unit cube.

    Raises:
        ValueError: when the grids differ in size.
    """
    one, other = (f.heights.astype(np.float64) for f in (field, reference))
    if one.shape != other.shape:
        raise ValueError(f"height fields differ in size: {list(one.shape)} and {list(other.shape)}")
    known = settled(SCALES, (False, False), [not_finite(arrays(f)) is None for f in (field, reference)])
    if known is not None:
        return known
    off = np.abs(one - other)
    within, rmse = SCALES
    return within((off <= 0.01 * np.ptp(other)).mean()), rmse(np.sqrt((off**2).mean()))
