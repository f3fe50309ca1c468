"""Colours of feature vectors: red, green and blue are their first three principal components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Colours = Callable[[NDArray[Any]], NDArray[np.uint8]]


def colours_of(features: NDArray[Any]) -> Colours:
    """What gives vectors [..., C] colours [..., 3]: components of the vectors `features` [..., C], each over the range
    that it has there."""
    rows = features.reshape(-1, features.shape[-1]).astype(np.float64)
    middle = rows.mean(0)
    rows = rows - middle
    axes = np.linalg.svd(rows.T @ rows)[0][:, :3]
    axes *= np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)  # one sign, always
    parts = rows @ axes
    low, span = parts.min(0), np.maximum(np.ptp(parts, axis=0), 1e-12)

    def coloured(vectors: NDArray[Any]) -> NDArray[np.uint8]:
        found = (vectors.reshape(-1, vectors.shape[-1]).astype(np.float64) - middle) @ axes
        shown = np.full((len(found), 3), 0.5)
        shown[:, : found.shape[1]] = np.clip((found - low) / span, 0, 1)
        made: NDArray[np.uint8] = np.rint(255 * shown).astype(np.uint8).reshape(*vectors.shape[:-1], 3)
        return made

    return coloured


def enlarged(picture: NDArray[np.uint8], edge: int) -> NDArray[np.uint8]:
    """A picture [H, W, 3] in whole steps, its longer edge about `edge` pixels."""
    zoom = max(1, edge // max(picture.shape[:2]))
    return np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1)
