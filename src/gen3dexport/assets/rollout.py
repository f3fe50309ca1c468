"""How well later features of a film were predicted, moment by moment, against the trivial answer: nothing changes."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.feature_film import FeatureFilm

Floats = NDArray[np.float64]

MEASURES = ("l1", "l1_normed", "cosine")
_TINY = 1e-6  # added to a vector's variance where it is normed


def rollout(film: FeatureFilm) -> dict[str, Any] | None:
    """Scores of a film's predicted moments; None where nothing was predicted.

    `l1` is the mean difference of the predicted numbers from the encoder's, `cosine` the mean cosine of their vectors,
    and `l1_normed` the first between vectors whose mean is 0 and variance 1 (what such models are trained for).
    `repeat_...` is the same of the last known moment's features.
    """
    if not len(film.predicted):
        return None
    known = len(film.features) - len(film.predicted)
    repeated, rows = film.repeated[0].astype(np.float64), []
    for k, made in enumerate(film.predicted.astype(np.float64)):
        truth = film.features[known + k].astype(np.float64)
        row: dict[str, Any] = {"moment": known + k, "seconds": float(film.times[known + k])}
        rows.append(row | _measured(made, truth, "") | _measured(repeated, truth, "repeat_"))
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name not in ("moment", "seconds")}
    found = {"known_moments": known, "predicted_moments": len(rows), "moments": rows, "mean": means}
    said = ", ".join(f"{name} {means[name]:.4g} (a repeat: {means[f'repeat_{name}']:.4g})" for name in MEASURES)
    return found | {"summary": f"rollout, mean of {len(rows)} predicted moments after {known} known ones: {said}"}


def rollout_csv(found: dict[str, Any]) -> str:
    """The moments of a `rollout` as a table, and their means last."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(found["moments"][0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*found["moments"], {"moment": "mean", "seconds": "", **found["mean"]}])
    return stream.getvalue()


def _measured(made: Floats, truth: Floats, prefix: str) -> dict[str, float]:
    """Each of `MEASURES` of vectors [H, W, C]."""
    lengths = np.linalg.norm(made, axis=-1) * np.linalg.norm(truth, axis=-1)
    cosine = (made * truth).sum(-1) / np.where(lengths > 0, lengths, 1.0)
    normed = np.abs(_normed(made) - _normed(truth))
    values = (np.abs(made - truth).mean(), normed.mean(), cosine.mean())
    return {prefix + name: float(value) for name, value in zip(MEASURES, values, strict=True)}


def _normed(vectors: Floats) -> Floats:
    centred = vectors - vectors.mean(-1, keepdims=True)
    normed: Floats = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + _TINY)
    return normed
