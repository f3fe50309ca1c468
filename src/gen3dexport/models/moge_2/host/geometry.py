"""From a network's raw maps to metric points, depth, normals and camera, on the host. No torch.

Camera axes are OpenCV's: x right, y down, z away. Source: Wang et al. 2025, "MoGe-2".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.moge_2.host.focal_shift import focal_of, recovered, span
from gen3dexport.models.resampling import linear

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Geometry:
    """What a picture of H x W pixels shows.

    Attributes:
        points: [H, W, 3] in camera axes, in metres where the model has a metric scale; depth: [H, W], their z.
        intrinsics: [3, 3], normalised by width and height; mask: [H, W] what counts; focal, shift: as recovered.
        normal: [H, W, 3] unit normals in camera axes, or None.
    """

    points: Floats
    depth: Floats
    intrinsics: Floats
    mask: NDArray[np.bool_]
    focal: float
    shift: float
    normal: Floats | None = None


def activated(raw: Mapping[str, Floats], height: int, width: int) -> dict[str, Floats]:
    """Maps [H, W, C] (mask [H, W]) of raw ones [C, h, w]: brought to the picture's size, then through what they go.

    Points are affine: z is exp of its map, x and y are its multiples. Normals have length 1. The mask lies in [0, 1].
    """
    found = {}
    for name in ("points", "normal", "mask"):
        if name not in raw:
            continue
        sized = linear(linear(raw[name], height, 1, corners=False), width, 2, corners=False)
        values = np.moveaxis(sized, 0, -1)
        if name == "points":
            z = np.exp(values[..., 2:])
            values = np.concatenate([values[..., :2] * z, z], -1)
        elif name == "normal":
            values = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
        else:
            values = 0.5 + 0.5 * np.tanh(0.5 * values[..., 0])  # the sigmoid, which overflows nowhere
        found[name] = values.astype(np.float32)
    return found


def geometry(
    maps: Mapping[str, Floats], scale: float, field_of_view: float | None = None, project: bool = True
) -> Geometry:
    """What a picture shows, of its activated maps.

    Args:
        scale: metres of a unit of the maps; 1 where the model has none.
        field_of_view: degrees from the left to the right edge, where that is known.
        project: put points on the rays of their pixels; else the network's x and y stay.
    """
    height, width = maps["points"].shape[:2]
    mask = maps["mask"] > 0.5
    known = None if field_of_view is None else focal_of(field_of_view, width, height)
    return placed(maps, *recovered(maps["points"], mask, known), scale, project)


def placed(maps: Mapping[str, Floats], focal: float, shift: float, scale: float, project: bool = True) -> Geometry:
    """What a picture shows, with a focal length and a shift that are known."""
    points = maps["points"]
    height, width = points.shape[:2]
    camera = intrinsics(focal, width, height)
    depth = points[..., 2] + np.float32(shift)
    mask = (maps["mask"] > 0.5) & (depth > 0)
    if project:
        right = ((np.arange(width) + 0.5) / width - 0.5) / camera[0, 0]
        down = ((np.arange(height) + 0.5) / height - 0.5) / camera[1, 1]
        found = np.stack([depth * right, depth * down[:, None], depth], -1)
    else:
        found = np.concatenate([points[..., :2], depth[..., None]], -1)
    metres = np.float32(scale)
    made = ((metres * found).astype(np.float32), (metres * depth).astype(np.float32), camera.astype(np.float32))
    return Geometry(*made, mask, focal, shift, maps.get("normal"))


def intrinsics(focal: float, width: int, height: int) -> NDArray[np.float64]:
    """The camera [3, 3], normalised by width and height, of a focal length relative to half the diagonal."""
    wide, high = span(width, height)
    return np.array([[focal / 2 / wide, 0, 0.5], [0, focal / 2 / high, 0.5], [0, 0, 1]])
