"""A photograph made ready for Depth Anything 3: the published sizes, its place in a fixed one, and cameras with it.

No torch. Source of the rules: Lin et al. 2025, "Depth Anything 3", and its repository's.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.depth_anything_3.host.byte_resizing import resized
from gen3dexport.models.depth_anything_3.host.model import PATCH
from gen3dexport.models.normalisation import IMAGENET
from gen3dexport.models.photograph import Frame, between_bars
from gen3dexport.models.photograph_knobs import Fit

Bound = Literal["upper", "lower"]
"""Which edge is brought to the resolution: the longer one, or the shorter one."""
Ending = Literal["resize", "crop"]
"""How edges become multiples of the patch: resized to the nearest, or cut to the one below."""
Floats = NDArray[np.float32]


def sizes(
    height: int, width: int, resolution: int, bound: Bound = "upper", ending: Ending = "resize", patch: int = PATCH
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two sizes that the published code gives a photograph: after the bound, and in multiples of the patch."""
    scale = resolution / (max(height, width) if bound == "upper" else min(height, width))
    first = max(1, round(height * scale)), max(1, round(width * scale))
    if ending == "crop":
        return first, (max(patch, first[0] // patch * patch), max(patch, first[1] // patch * patch))
    return first, (_nearest(first[0], patch), _nearest(first[1], patch))


def _nearest(edge: int, patch: int) -> int:
    """The nearest multiple of the patch, the larger of two."""
    return max(patch, (2 * edge + patch) // (2 * patch) * patch)


def published(
    colors: NDArray[np.uint8],
    resolution: int,
    bound: Bound = "upper",
    ending: Ending = "resize",
    camera: NDArray[np.floating] | None = None,
    patch: int = PATCH,
) -> tuple[NDArray[np.uint8], Floats | None]:
    """A photograph [H, W, 3] in its published size, and its camera [3, 3] in pixels with it."""
    here = (colors.shape[0], colors.shape[1])
    first, last = sizes(*here, resolution, bound, ending, patch)
    made = resized(colors, first)
    if ending == "resize":
        made = resized(made, last)
    else:
        top, left = (first[0] - last[0]) // 2, (first[1] - last[1]) // 2
        made = made[top : top + last[0], left : left + last[1]]
    if camera is None:
        return made, None
    found = np.array(camera, np.float64)
    for before, after in ((here, first), *(((first, last),) if ending == "resize" else ())):
        found[0] *= after[1] / before[1]
        found[1] *= after[0] / before[0]
    if ending == "crop":
        found[:2, 2] -= (left, top)
    return made, found.astype(np.float32)


def frame(height: int, width: int, size: tuple[int, int], fit: Fit) -> Frame:
    """Where a photograph lies in a picture of the program's size: everywhere, where that is its published size or it is
    stretched; else as large as can be, in the middle between bars.

    Raises:
        UsageError: when it is so long that it would be narrower than a patch.
    """
    if fit == "stretch" or sizes(height, width, max(size))[1] == size:
        return Frame(0, 0, *size)
    return between_bars(height, width, size, PATCH)


def pixels(colors: NDArray[np.uint8], size: tuple[int, int], place: Frame) -> Floats:
    """A photograph [H, W, 3] as a network's picture [3, h, w], normalised; bars are 0, the mean colour."""
    if sizes(colors.shape[0], colors.shape[1], max(size))[1] == size == (place.height, place.width):
        values = published(colors, max(size))[0]
    else:
        values = resized(colors, (place.height, place.width))
    made = np.zeros((*size, 3), np.float32)
    made[place.inner] = normalised(values)
    return np.ascontiguousarray(made.transpose(2, 0, 1))


def normalised(picture: NDArray[np.uint8]) -> Floats:
    """Colours of bytes in ImageNet's normalisation."""
    made: Floats = IMAGENET.of(picture / 255, precision=np.float64).astype(np.float32)
    return made
