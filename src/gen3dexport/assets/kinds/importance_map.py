"""The kind importance_map: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.flat_pictures import false_colours, grey16, steps16, tiff
from gen3dexport.assets.importance_map import ImportanceMap
from gen3dexport.assets.score import Scale, Score, distance, settled

KIND = "importance_map"
SCALES = (Scale("correlation"), distance("rmse"))


def arrays(weights: ImportanceMap) -> dict[str, NDArray[Any]]:
    """`values`."""
    return {"values": weights.values}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> ImportanceMap:
    """The importance map of its arrays."""
    return ImportanceMap(arrays["values"])


FILES: Mapping[str, FileFormat] = {
    ".npz": npz(arrays),
    ".tiff": FileFormat(lambda weights, title: tiff(weights.values)),
    ".png": FileFormat(lambda weights, title: grey16(steps16(weights.values, 0, 1))),
}


def problem(weights: ImportanceMap) -> str | None:
    """No pixels, numbers that are not finite, or that are not in [0, 1]."""
    values = weights.values
    if not values.size or (said := not_finite(arrays(weights))):
        return said if values.size else "it has no pixels"
    outside = int(((values < 0) | (values > 1)).sum())
    return f"{outside} of {values.size} values are not in [0, 1]" if outside else None


def counts(weights: ImportanceMap) -> dict[str, int]:
    """Width and height."""
    height, width = weights.values.shape
    return {"width": width, "height": height}


def picture(weights: ImportanceMap) -> NDArray[np.uint8]:
    """What matters most is bright, what matters least is dark, over the map's own range."""
    return false_colours(weights.values)


def scores(weights: ImportanceMap, reference: ImportanceMap) -> tuple[Score, ...]:
    """Pearson's correlation over the pixels, not below 0 (of maps of one value each: whether the two are equal), and
    the root mean square of the differences.

    Raises:
        ValueError: when the maps differ in size.
    """
    one, other = (w.values.astype(np.float64) for w in (weights, reference))
    if one.shape != other.shape:
        raise ValueError(f"importance maps differ in size: {list(one.shape)} and {list(other.shape)}")
    pair = (weights, reference)
    known = settled(SCALES, [not w.values.size for w in pair], [not_finite(arrays(w)) is None for w in pair])
    if known is not None:
        return known
    a, b = one - one.mean(), other - other.mean()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    alike = float((a * b).sum()) / lengths if lengths else float(np.array_equal(one, other))
    of_shape, of_size = SCALES
    return of_shape(np.clip(alike, 0, 1)), of_size(np.sqrt(((one - other) ** 2).mean()))
