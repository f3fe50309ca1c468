"""The kind feature_map: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.feature_colours import colours_of, enlarged
from gen3dexport.assets.feature_map import FeatureMap
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.score import Scale, Score, distance, settled

KIND = "feature_map"
SCALES = (Scale("cosine"), distance("relative_l2"))


def arrays(features: FeatureMap) -> dict[str, NDArray[Any]]:
    """`features`."""
    return {"features": features.features}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> FeatureMap:
    """The feature map of its arrays."""
    return FeatureMap(arrays["features"])


FILES: Mapping[str, FileFormat] = {".npz": npz(arrays)}


def problem(features: FeatureMap) -> str | None:
    """No vectors, or numbers that are not finite."""
    return not_finite(arrays(features)) or (None if features.features.size else "it has no features")


def counts(features: FeatureMap) -> dict[str, int]:
    """Width, height and channels."""
    height, width, channels = features.features.shape
    return {"width": width, "height": height, "channels": channels}


def picture(features: FeatureMap) -> NDArray[np.uint8]:
    """Red, green and blue are the first three principal components of the vectors, each over its own range."""
    return enlarged(colours_of(features.features)(features.features), 256)


def scores(features: FeatureMap, reference: FeatureMap) -> tuple[Score, ...]:
    """The mean cosine between the vectors of a place, not below 0, and ||features - reference||_2 / ||reference||_2.

    Raises:
        ValueError: when the maps differ in shape.
    """
    one, other = (f.features.astype(np.float64) for f in (features, reference))
    if one.shape != other.shape:
        raise ValueError(f"feature maps differ in shape: {list(one.shape)} and {list(other.shape)}")
    pair = (features, reference)
    known = settled(SCALES, [not f.features.size for f in pair], [not_finite(arrays(f)) is None for f in pair])
    if known is not None:
        return known
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    both_zero = ~(one.any(-1) | other.any(-1))
    cosine = np.where(both_zero, 1.0, (one * other).sum(-1) / np.where(lengths > 0, lengths, 1.0))
    of_angle, of_length = SCALES
    norm, off = float(np.linalg.norm(other)), float(np.linalg.norm(one - other))
    return of_angle(np.clip(cosine.mean(), 0, 1)), of_length(off / norm if norm else (of_length.worst if off else 0.0))
