"""The kind feature_film: its arrays, files, pictures and scores."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.feature_colours import colours_of, enlarged
from gen3dexport.assets.feature_film import FeatureFilm
from gen3dexport.assets.feature_map import FeatureMap
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.film_files import EXTRA, PACKAGE, gif, mp4
from gen3dexport.assets.kinds import feature_map
from gen3dexport.assets.rollout import rollout, rollout_csv
from gen3dexport.assets.score import Scale, Score
from gen3dexport.errors import UsageError

KIND = "feature_film"
SCALES: tuple[Scale, ...] = feature_map.SCALES

Picture = NDArray[np.uint8]

_SHOWN = 8  # moments in a picture
_TILE, _FRAME = 96, 256  # pixels of a moment in a picture, and in a film
_GAP = 4
_WAIT = 0.1  # seconds of an only moment


def arrays(film: FeatureFilm) -> dict[str, NDArray[Any]]:
    """`features`, `times`, `predicted`, `repeated`."""
    return {
        "features": film.features,
        "times": film.times,
        "predicted": film.predicted,
        "repeated": film.repeated,
    }


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> FeatureFilm:
    """The feature film of its arrays."""
    return FeatureFilm(arrays["features"], arrays["times"], arrays["predicted"], arrays["repeated"])


def problem(film: FeatureFilm) -> str | None:
    """No vectors, or numbers that are not finite."""
    return not_finite(arrays(film)) or (None if film.features.size else "it has no features")


def counts(film: FeatureFilm) -> dict[str, int]:
    """Steps, width, height, channels, and how many of the moments were predicted."""
    moments, height, width, channels = film.features.shape
    found = {"moments": moments, "width": width, "height": height, "channels": channels}
    return found | {"predicted_moments": len(film.predicted)}


def facts(film: FeatureFilm) -> dict[str, Any]:
    """The rollout, where something was predicted."""
    found = rollout(film)
    return {} if found is None else {"rollout": found}


def _pairs(film: FeatureFilm) -> list[tuple[Picture, Picture | None]]:
    """Each moment's colours [H, W, 3], and those of what was predicted of it."""
    coloured = colours_of(film.features)
    own, made, known = coloured(film.features), coloured(film.predicted), len(film.features) - len(film.predicted)
    return [(moment, made[k - known] if k >= known else None) for k, moment in enumerate(own)]


def picture(film: FeatureFilm) -> Picture:
    """At most eight moments side by side, in the colours of their first three principal components over the whole film;
    below each what was predicted of it, if anything."""
    count = len(film.features)
    shown = np.unique(np.linspace(0, count - 1, min(count, _SHOWN)).round().astype(int))
    pairs = [_pairs(film)[k] for k in shown]
    tiles = [[enlarged(own, _TILE), None if made is None else enlarged(made, _TILE)] for own, made in pairs]
    blank = np.full_like(tiles[0][0], 255)
    rows = [[own for own, _ in tiles]]
    rows += [[blank if made is None else made for _, made in tiles]] if len(film.predicted) else []
    return _joined([_joined([tile for tile in row if tile is not None], 1) for row in rows], 0)


def _joined(pictures: list[Picture], axis: int) -> Picture:
    """Pictures of one size in a row (axis 1) or a column (axis 0), white between them."""
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    found = [part for one in pictures for part in (gap, one)][1:]
    return np.concatenate(found, axis)


def _film(film: FeatureFilm) -> tuple[list[Picture], NDArray[np.float64]]:
    """A picture of each moment, what was predicted to its right, and the seconds of each."""
    frames = []
    for own, made in _pairs(film):
        tile = enlarged(own, _FRAME)
        beside = np.full_like(tile, 255) if made is None else enlarged(made, _FRAME)
        frames.append(_joined([tile, beside], 1) if len(film.predicted) else tile)
    moments = np.diff(film.times)
    return frames, np.append(moments, moments[-1] if len(moments) else _WAIT)


def _png(film: FeatureFilm, title: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture(film)).save(stream, format="PNG")
    return stream.getvalue()


def _scored(film: FeatureFilm) -> dict[str, Any]:
    found = rollout(film)
    if found is None:
        raise UsageError(
            "a .csv or .json holds how well later moments were predicted, and nothing was; build with a predictor"
        )
    return found


FILES: Mapping[str, FileFormat] = {
    ".npz": npz(arrays),
    ".png": FileFormat(_png),
    ".gif": FileFormat(lambda film, title: gif(*_film(film))),
    ".mp4": FileFormat(lambda film, title: mp4(*_film(film)), package=PACKAGE, extra=EXTRA),
    ".csv": FileFormat(lambda film, title: rollout_csv(_scored(film)).encode()),
    ".json": FileFormat(lambda film, title: (json.dumps(_scored(film), indent=1) + "\n").encode()),
}


def scores(film: FeatureFilm, reference: FeatureFilm) -> tuple[Score, ...]:
    """As of feature maps: the least mean cosine, and the largest relative distance, of the features and of what was
    predicted.

    Raises:
        ValueError: when the films differ in shape.
    """
    if film.predicted.shape != reference.predicted.shape:
        raise ValueError(
            f"predictions differ in shape: {list(film.predicted.shape)} and {list(reference.predicted.shape)}"
        )
    found = _alike(film.features, reference.features)
    if not len(reference.predicted):
        return found
    other = _alike(film.predicted, reference.predicted)
    worst = (min(found[0].value, other[0].value), max(found[1].value, other[1].value))
    return tuple(scale(value) for scale, value in zip(SCALES, worst, strict=True))


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[Score, ...]:
    if one.shape != other.shape:
        raise ValueError(f"features differ in shape: {list(one.shape)} and {list(other.shape)}")
    flat = (values.reshape(-1, *values.shape[2:]) for values in (one, other))
    return feature_map.scores(*(FeatureMap(values) for values in flat))
