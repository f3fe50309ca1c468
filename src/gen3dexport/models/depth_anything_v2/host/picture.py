"""A photograph made ready for Depth Anything V2, and its map brought back to the photograph's size. No torch.

Source of the rules: Yang et al. 2024, "Depth Anything V2", the original repository's and the transformers library's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.models.depth_anything_v2.host.settings import Rules
from gen3dexport.models.normalisation import IMAGENET
from gen3dexport.models.photograph import Frame, between_bars
from gen3dexport.models.photograph_knobs import Fit
from gen3dexport.models.resampling import cubic, linear


def published_size(height: int, width: int, least: int, patch: int, rules: Rules) -> tuple[int, int]:
    """The size that the published code gives a photograph: aspect kept, edges multiples of the patch.

    Args:
        least: what the original rules bring the shorter edge to, at least; the transformers library takes the scale of
            the edge that changes less.
    """
    scales = (least / height, least / width)
    scale = max(scales) if rules == "original" else min(scales, key=lambda s: abs(1 - s))
    found = []
    for edge in (height, width):
        rounded = int(np.round(scale * edge / patch)) * patch
        if rules == "original" and rounded < least:
            rounded = int(np.ceil(scale * edge / patch)) * patch
        found.append(rounded)
    return found[0], found[1]


def frame(height: int, width: int, size: tuple[int, int], patch: int, rules: Rules, fit: Fit) -> Frame:
    """Where a photograph lies in a picture of the program's size: everywhere, where that is its published size or it is
    stretched; else as large as can be, in the middle between bars.

    Raises:
        UsageError: when it is so long that it would be narrower than a patch.
    """
    if fit == "stretch" or published_size(height, width, min(size), patch, rules) == size:
        return Frame(0, 0, *size)
    return between_bars(height, width, size, patch)


def pixels(colors: NDArray[np.uint8], size: tuple[int, int], place: Frame, rules: Rules) -> NDArray[np.float32]:
    """A photograph [H, W, 3] as the network's picture [1, 3, h, w], normalised; bars are 0, the mean colour."""
    made = np.zeros((*size, 3), np.float32)
    if rules == "hf":
        wanted = (place.width, place.height)
        values = np.asarray(Image.fromarray(colors).resize(wanted, Image.Resampling.BICUBIC)) / 255
    else:
        values = cubic(cubic(colors / 255, place.height, 0), place.width, 1)
    made[place.inner] = IMAGENET.of(values, precision=np.float64)
    return np.ascontiguousarray(made.transpose(2, 0, 1)[None])


def brought_back(depth: NDArray[np.float32], place: Frame, height: int, width: int) -> NDArray[np.float32]:
    """The network's map [h, w] without its bars, in another size: bilinear, the corners of both on each other."""
    return linear(linear(depth[place.inner], height, 0, corners=True), width, 1, corners=True)
