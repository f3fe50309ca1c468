"""Pictures of bytes in another size, as the published code's image library makes them. No torch.

Source: OpenCV's documented interpolations INTER_AREA and INTER_CUBIC on 8-bit images, which round after both axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models import resampling

Bytes = NDArray[np.uint8]

_LEAST = 1e-3  # share of a pixel that still counts


def resized(picture: Bytes, size: tuple[int, int]) -> Bytes:
    """A picture [H, W, C] with `size` rows and columns: cubic where an edge grows, else means over areas."""
    if picture.shape[:2] == size:
        return picture
    grows = any(wanted > here for wanted, here in zip(size, picture.shape[:2], strict=True))
    return cubic(picture, size) if grows else area(picture, size)


def area(picture: Bytes, size: tuple[int, int]) -> Bytes:
    """Means over the old pixels that each new one covers, by the shares covered; for edges that do not grow."""
    down, across = (_shares(here, wanted) for here, wanted in zip(picture.shape[:2], size, strict=True))
    values = np.einsum("ih,jw,hwc->ijc", down, across, picture.astype(np.float64), optimize=True)
    halves = tuple(2 * n for n in size) == picture.shape[:2]
    # Means of four are rounded up at a half, others to even. A sum that is a half but for float64's last digit is one.
    values = np.round(values, 9)
    made: Bytes = (np.floor(values + 0.5) if halves else np.rint(values)).clip(0, 255).astype(np.uint8)
    return made


def _shares(here: int, wanted: int) -> NDArray[np.float64]:
    """Weights [wanted, here]; rows sum to 1."""
    scale = here / wanted
    found = np.zeros((wanted, here))
    for k in range(wanted):
        start, end = k * scale, min((k + 1) * scale, here)
        first, last = int(np.ceil(start)), min(int(np.floor(end)), here - 1)
        first = min(first, last)
        if first - start > _LEAST:
            found[k, first - 1] = first - start
        found[k, first:last] = 1.0
        if end - last > _LEAST:
            found[k, last] = min(end - last, 1.0)
        found[k] /= min(scale, here - start)
    return found


def cubic(picture: Bytes, size: tuple[int, int]) -> Bytes:
    """Bicubic (A = -0.75) without antialiasing, ends repeated."""
    values = resampling.cubic(resampling.cubic(picture.astype(np.float64), size[1], 1), size[0], 0)
    made: Bytes = np.rint(values).clip(0, 255).astype(np.uint8)
    return made
