"""What sky means for depth, and two models as one: the host's steps after models of one view. No torch.

Source: Lin et al. 2025, "Depth Anything 3".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SKY = 0.3
"""From this value on a pixel is sky."""
FOCAL = 300.0
"""Pixels of the focal length at which a metric model's depths are metres."""

_FEWEST = 10  # pixels of sky and of the rest that are too few
_QUANTILE = 0.99
_FARTHEST = 200.0  # metres that sky has in nested models, at most
_NEAREST, _NEAREST_METRES = 1e-3, 1e-2  # depths that do not count, of a relative map and of a metric one


def with_sky(depth: Floats, sky: Floats) -> Floats:
    """Depths whose sky is as far as all but a hundredth of the rest, where there is enough of both."""
    rest = sky < SKY
    if rest.sum() <= _FEWEST or (~rest).sum() <= _FEWEST:
        return depth
    return np.where(rest, depth, np.quantile(depth[rest], _QUANTILE)).astype(np.float32)


class Nested(NamedTuple):
    """A relative map brought to metres by another model's, with its cameras.

    Attributes:
        metric: the metric map by the focal length; aligned: the relative one times the scale; depth: that with sky.
        confidence: of the depth; extrinsics: world to camera, in metres; scale: metres of 1.
    """

    metric: Floats
    aligned: Floats
    depth: Floats
    confidence: Floats
    extrinsics: Floats
    scale: float


def nested(
    depth: Floats, confidence: Floats, extrinsics: Floats, intrinsics: Floats, metric: Floats, sky: Floats
) -> Nested:
    """A relative model's maps [..., S, H, W] and cameras [..., S, 3, 4] in metres, by a metric model's maps.

    The scale is the least squares' over the pixels that are confident, no sky, and not too near.
    """
    focal = (intrinsics[..., 0, 0].astype(np.float64) + intrinsics[..., 1, 1]) / 2
    metres = (metric * (focal / FOCAL)[..., None, None]).astype(np.float32)
    rest = sky < SKY
    sure = confidence >= np.median(confidence[rest])
    used = sure & rest & (metres > _NEAREST_METRES) & (depth > _NEAREST)
    own, other = depth[used].astype(np.float64), metres[used].astype(np.float64)
    scale = float((other * own).sum() / (own * own).sum())
    aligned = (depth * scale).astype(np.float32)
    moved = extrinsics.copy()
    moved[..., 3] *= np.float32(scale)
    farthest = min(float(np.quantile(aligned[rest], _QUANTILE)), _FARTHEST)
    ended = np.where(rest, aligned, np.float32(farthest))
    return Nested(metres, aligned, ended, np.where(rest, confidence, np.float32(1)), moved, scale)
