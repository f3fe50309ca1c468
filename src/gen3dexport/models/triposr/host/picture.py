"""A picture made ready for TripoSR's image encoder: the subject cut out, centred on grey, resized. No torch.

Source: Tochilkin et al. 2024, "TripoSR".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.errors import UsageError
from gen3dexport.models.image_preparation import cut_out, read_image
from gen3dexport.models.resampling import tent

_GREY = 0.5


def pixels(source: Any, size: int, foreground_ratio: float) -> NDArray[np.float32]:
    """The subject of a picture as [1, 3, size, size] float32 in [0, 1], on grey.

    Args:
        source: a file's path, an uint8 array [H, W, 3 or 4], or a Pillow image.
        foreground_ratio: longer side of the subject over the picture's.

    Raises:
        UsageError: when the picture cannot be read, or is transparent all over.
        MissingError: when its background must be removed first and the package or model for that is not here.
    """
    square = on_grey(centred(np.asarray(cut_out(read_image(source))), foreground_ratio))
    scaled: NDArray[np.float32] = (square / 255).astype(np.float32)
    return resized(scaled, size).transpose(2, 0, 1)[None].copy()


def centred(picture: NDArray[np.uint8], foreground_ratio: float) -> NDArray[np.uint8]:
    """The subject of an RGBA picture [H, W, 4] in the middle of a transparent square [S, S, 4].

    The subject is where alpha is above 0. Its last row and column are left out, as the release does.

    Raises:
        UsageError: when there is no subject, or it is one pixel high or wide.
    """
    rows, columns = np.nonzero(picture[..., 3])
    if not len(rows):
        raise UsageError("image: nothing in it is opaque, so there is no subject; is its alpha channel right?")
    cropped = picture[rows.min() : rows.max(), columns.min() : columns.max()]
    height, width = cropped.shape[:2]
    if not height or not width:
        raise UsageError("image: its subject is one pixel high or wide; give a larger picture")
    side = max(height, width)
    # Padded to a square first and to the ratio then: two roundings, as the release has them.
    outer = int(side / foreground_ratio)
    top, left = ((side - n) // 2 + (outer - side) // 2 for n in (height, width))
    square = np.zeros((outer, outer, 4), np.uint8)
    square[top : top + height, left : left + width] = cropped
    return square


def on_grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An RGBA picture [H, W, 4] over grey: uint8 [H, W, 3], rounded down."""
    values = picture.astype(np.float32) / 255
    blended = values[..., :3] * values[..., 3:] + _GREY * (1 - values[..., 3:])
    result: NDArray[np.uint8] = (blended * 255).astype(np.uint8)
    return result


def resized(picture: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A picture [H, W, C] at [size, size, C]: bilinear, with antialiasing where it shrinks, pixels as areas."""
    return tent(tent(picture, size, axis=1), size, axis=0)
