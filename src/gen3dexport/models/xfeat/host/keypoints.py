"""Keypoints of a picture from what XFeat makes of it, and matches of two pictures' keypoints. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.xfeat.host.sampling import bicubic, bilinear, nearest, places

CELL = 8
"""Edge of the square of pixels that one place of the network's maps stands for."""
_WINDOW = 5  # in which a keypoint is the hottest

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Keypoints:
    """Keypoints, the best first.

    Attributes:
        points: float32 [N, 2]: x, y in pixels; scores: [N]; descriptors: [N, 64], of length 1.
    """

    points: Floats
    scores: Floats
    descriptors: Floats


def heat_of(logits: Floats) -> Floats:
    """Heat [H, W] of logits [65, H / 8, W / 8]: the shares of a cell's pixels, row by row; the last is none's."""
    powers = np.exp(logits - logits.max(0))
    shares = (powers / powers.sum(0))[:-1]
    _, rows, columns = shares.shape
    cells = shares.reshape(CELL, CELL, rows, columns).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(cells.reshape(CELL * rows, CELL * columns))


def detect(feats: Floats, logits: Floats, reliability: Floats, most: int, least: float) -> Keypoints:
    """Keypoints of one picture.

    Args:
        feats: [64, H / 8, W / 8]; logits: [65, ...]; reliability: [1, ...].
        most: so many at most; least: heat of a keypoint.
    """
    from scipy.ndimage import maximum_filter

    heat = heat_of(logits)
    hottest = maximum_filter(heat, _WINDOW, mode="constant", cval=-np.inf)
    rows, columns = np.nonzero((heat == hottest) & (heat > least))
    points = np.stack([columns, rows], 1).astype(np.float32)
    size, small = heat.shape, feats.shape[1:]
    there = places(points, size, small)
    scores = nearest(heat[None], places(points, size, size))[:, 0] * bilinear(reliability, there)[:, 0]
    order = np.argsort(-scores, kind="stable")[:most]
    order = order[scores[order] > 0]
    lengths = np.linalg.norm(feats, axis=0, keepdims=True)
    found = bicubic(feats / np.maximum(lengths, 1e-12), there[order])
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return Keypoints(points[order], scores[order].astype(np.float32), found.astype(np.float32))


def nearest_neighbours(first: Floats, second: Floats, least: float = -1.0) -> NDArray[np.int64]:
    """Pairs [M, 2] of descriptors that are each other's most similar, above a cosine of `least`."""
    cosine = first @ second.T
    there, back = cosine.argmax(1), cosine.argmax(0)
    index = np.arange(len(first))
    kept = (back[there] == index) & (cosine.max(1) > least)
    return np.stack([index[kept], there[kept]], 1)


def assigned(log_assignment: Floats, least: float) -> tuple[NDArray[np.int64], Floats]:
    """Pairs [M, 2] that are each other's most probable, and their probabilities [M] above `least`.

    Args:
        log_assignment: [N, M], without the row and column of what has no partner.
    """
    if 0 in log_assignment.shape:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    there, back = log_assignment.argmax(1), log_assignment.argmax(0)
    index = np.arange(len(log_assignment))
    probability = np.exp(log_assignment[index, there])
    kept = (back[there] == index) & (probability > least)
    return np.stack([index[kept], there[kept]], 1), probability[kept].astype(np.float32)


def normalised(points: NDArray[Any], height: int, width: int) -> Floats:
    """Points [N, 2] as the matcher takes them: from the picture's middle, by half of its longer edge."""
    found: Floats = ((points - np.array([width, height]) / 2) / (max(width, height) / 2)).astype(np.float32)
    return found
