"""What a depth map says of space: points and a mesh, through a camera without distortion.

The camera stands at the origin and looks along -x; +y is to its right and z is up. The farthest point lies on the unit
cube; where depths are in metres, `unit` of what is made says how many metres 1 is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.assets.points import Points

FARTHEST = 50.0
"""Of an inverse depth map: times the nearest depth from which on a pixel sees nothing."""


def distances(depth_map: DepthMap) -> NDArray[np.float64]:
    """Depths [H, W], inf where nothing is seen; of an inverse map with 1 for the nearest, its addend taken as 0."""
    values = depth_map.depth.astype(np.float64)
    if not depth_map.inverse:
        return values
    nearest = values.max(initial=0.0)
    near = values > nearest / FARTHEST
    found: NDArray[np.float64] = np.where(near, nearest / np.where(near, values, 1.0), np.inf)
    return found


def cloud(depth_map: DepthMap, colors: NDArray[np.uint8], shown: NDArray[np.bool_]) -> Points:
    """A point for every pixel that sees something.

    Args:
        colors: [H, W, 3] of the pixels; shown: [H, W] which of them count.

    Raises:
        ValueError: when the map has no field of view, or arrays differ in size.
    """
    found, seen, unit = _places(depth_map, colors, shown)
    return Points(found[seen].astype(np.float32), colors[seen], unit)


def surface(depth_map: DepthMap, colors: NDArray[np.uint8], shown: NDArray[np.bool_], cut: float) -> Mesh:
    """Two triangles between every four pixels, but for those over a step in depth: facing the camera, open.

    Args:
        colors, shown: as of `cloud`.
        cut: share by which the farthest corner of a triangle may be farther than the nearest.

    Raises:
        ValueError: as `cloud` does.
    """
    found, seen, unit = _places(depth_map, colors, shown)
    index = np.arange(seen.size).reshape(seen.shape)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], -2).reshape(-1, 3)
    depths = np.where(seen, -found[..., 0], np.nan).ravel()[faces]
    with np.errstate(invalid="ignore"):
        faces = faces[depths.max(1) <= (1 + cut) * depths.min(1)]  # NaN is not
    used, renamed = np.unique(faces, return_inverse=True)
    vertices = found.reshape(-1, 3)[used].astype(np.float32)
    faces = renamed.reshape(-1, 3).astype(np.int64)
    normals = vertex_normals(vertices, faces) if len(faces) else None
    cell = 1 / max(seen.shape)
    return Mesh(vertices, faces, normals, colors.reshape(-1, 3)[used], cell, unit)


def places(depth_map: DepthMap) -> NDArray[np.float32]:
    """Places [H, W, 3] of the pixels, x right, y down, z away from the camera; 0 where nothing is seen.

    Raises:
        ValueError: when the map has no field of view.
    """
    depth = distances(depth_map)
    depth = np.where(np.isfinite(depth), depth, 0.0)
    right, down = _slopes(depth_map)
    return np.stack([depth * right, depth * down[:, None], depth], -1).astype(np.float32)


def _slopes(depth_map: DepthMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far right [W] and down [H] the pixels' rays go, a unit of depth."""
    wide, (height, width) = depth_map.field_of_view, depth_map.depth.shape
    if wide is None:
        raise ValueError("the depth map has no field of view")
    focal = width / 2 / math.tan(math.radians(wide) / 2)
    return (np.arange(width) + 0.5 - width / 2) / focal, (np.arange(height) + 0.5 - height / 2) / focal


def _places(
    depth_map: DepthMap, colors: NDArray[np.uint8], shown: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float | None]:
    """Places [H, W, 3] in the unit cube, which pixels [H, W] have one, and metres that 1 is."""
    right, down = _slopes(depth_map)
    height, width = depth_map.depth.shape
    if colors.shape != (height, width, 3) or shown.shape != (height, width):
        raise ValueError(
            f"colours {list(colors.shape)} and mask {list(shown.shape)} are not of {height} x {width} pixels"
        )
    depth = distances(depth_map)
    seen = shown & np.isfinite(depth) & (depth > 0)
    depth = np.where(seen, depth, 0.0)
    found = np.stack([-depth, depth * right, -depth * down[:, None]], -1)
    farthest = float(np.abs(found).max(initial=0.0))
    scale = 0.5 / farthest if farthest > 0 else 1.0
    return found * scale, seen, 1 / scale if depth_map.metric else None
