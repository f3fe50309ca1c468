"""A picture made ready for MoGe-2's network. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.normalisation import IMAGENET
from gen3dexport.models.resampling import linear, tent


def published_grid(height: int, width: int, tokens: int) -> tuple[int, int]:
    """Patches down and across that the published code takes of a picture, for so many tokens about."""
    aspect = width / height
    return round((tokens / aspect) ** 0.5), round((tokens * aspect) ** 0.5)


def pixels(picture: NDArray[np.float32], size: tuple[int, int], antialias: bool = True) -> NDArray[np.float32]:
    """A picture [3, H, W] in [0, 1] as the network's [3, h, w], normalised after resizing."""
    height, width = size
    if antialias:
        sized = tent(tent(picture, width, 2), height, 1)
    else:
        sized = linear(linear(picture, width, 2, corners=False), height, 1, corners=False)
    made: NDArray[np.float32] = IMAGENET.of(sized, 0).astype(np.float32)
    return made
