"""The photographs of a request, and points of several views in one world. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.points import Points
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.models.photograph import image_of, photograph
from gen3dexport.models.several_pictures import is_many, listed

_DOES = "makes depth of a photograph"

Photograph = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""Colours [H, W, 3], and which pixels are more opaque than not [H, W]."""


def photographs(request: Request, views: int) -> list[Photograph]:
    """The request's photographs: one, or as many as the views, as a list, an array [S, H, W, 3 or 4] or a folder.

    Raises:
        UsageError: for a request without photographs or with other things, for another number of them, or for one that
            cannot be read.
    """
    if views > 1 and request.stand_in and request.image is None:
        image_of(request, _DOES)
        return [photograph(sample_image(request.seed + k)) for k in range(views)]
    source = image_of(request, _DOES)
    if views == 1 and not is_many(source):
        return [photograph(source)]
    every = listed(source)
    if len(every) != views:
        raise UsageError(
            f"image: {len(every)} photographs, and this bundle takes {views} of a scene at once; give {views} in a "
            f"folder or a list, or build it with knobs.views={max(1, len(every))}"
        )
    return [photograph(one) for one in every]


def in_world(
    depths: NDArray[np.float32],
    extrinsics: NDArray[np.floating],
    intrinsics: NDArray[np.floating],
    colors: NDArray[np.uint8],
    shown: NDArray[np.bool_],
) -> Points:
    """Points of every view's pixels, as the first view's camera sees them, in the unit cube.

    Args:
        depths: [S, H, W]; extrinsics: world to camera [S, 3, 4]; intrinsics: in pixels of the maps [S, 3, 3].
        colors: [S, H, W, 3]; shown: [S, H, W] which pixels count.
    """
    height, width = depths.shape[1:]
    rows, columns = np.indices((height, width)) + 0.5
    every = []
    for depth, moved, camera in zip(depths.astype(np.float64), extrinsics, intrinsics, strict=True):
        right = (columns - camera[0, 2]) / camera[0, 0]
        down = (rows - camera[1, 2]) / camera[1, 1]
        seen = np.stack([depth * right, depth * down, depth], -1)
        every.append((seen - moved[:, 3]) @ moved[:, :3])  # R^T (x - t)
    world = np.stack(every)
    world = world @ extrinsics[0, :, :3].T + extrinsics[0, :, 3]
    found = np.stack([-world[..., 2], world[..., 0], -world[..., 1]], -1)[shown]
    farthest = float(np.abs(found).max(initial=0.0))
    scale = 0.5 / farthest if farthest > 0 else 1.0
    return Points((found * scale).astype(np.float32), colors[shown])
