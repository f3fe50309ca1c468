"""A picture made ready for SF3D's two encoders: the subject cut out and centred, on grey or on black. No torch.

Source: Boss et al. 2024, "Stable Fast 3D".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.errors import UsageError
from gen3dexport.models.image_preparation import cut_out, read_image
from gen3dexport.models.resampling import linear

Floats = NDArray[np.float32]

_GREY = np.float32(0.5)
_OPAQUE = 0.5  # alpha above which a pixel is of the subject, in 0..255


def pixels(source: Any, size: int, foreground_ratio: float) -> tuple[Floats, Floats]:
    """The subject of a picture on grey [1, 3, size, size] in [0, 1], and how opaque it is [1, 1, size, size].

    Args:
        source: a file's path, an uint8 array [H, W, 3 or 4], or a Pillow image.
        foreground_ratio: longer side of the subject over the picture's.

    Raises:
        UsageError: when the picture cannot be read, or is transparent all over.
        MissingError: when its background must be removed first and the package or model for that is not here.
    """
    square = centred(np.asarray(cut_out(read_image(source))), foreground_ratio)
    scaled = np.asarray(Image.fromarray(square).resize((size, size)), np.float32) / 255
    alpha = scaled[..., 3:]
    shown = _GREY + alpha * (scaled[..., :3] - _GREY)
    return tuple(part.transpose(2, 0, 1)[None].copy() for part in (shown, alpha))  # type: ignore[return-value]


def centred(picture: NDArray[np.uint8], foreground_ratio: float) -> NDArray[np.uint8]:
    """The subject of an RGBA picture [H, W, 4] in the middle of a transparent square [S, S, 4].

    Raises:
        UsageError: when there is no subject, or it is one pixel high and wide.
    """
    rows, columns = np.nonzero(picture[..., 3] > _OPAQUE)
    if not len(rows):
        raise UsageError("image: nothing in it is opaque, so there is no subject; is its alpha channel right?")
    top, bottom, left, right = (int(n) for n in (rows.min(), rows.max(), columns.min(), columns.max()))
    longest = max(bottom - top, right - left)
    if not longest:
        raise UsageError("image: its subject is one pixel; give a larger picture")
    side = int(longest / foreground_ratio)
    y, x = int((top + bottom) / 2 - side / 2), int((left + right) / 2 - side / 2)
    square = np.zeros((side, side, 4), np.uint8)
    height, width = picture.shape[:2]
    first_y, first_x, last_y, last_x = max(y, 0), max(x, 0), min(y + side, height), min(x + side, width)
    square[first_y - y : last_y - y, first_x - x : last_x - x] = picture[first_y:last_y, first_x:last_x]
    return square


def for_clip(shown: Floats, alpha: Floats, size: int) -> Floats:
    """A picture for CLIP [1, 3, size, size] in [0, 1], of one on grey and its opacity: times the opacity, on black."""
    return linear(linear(shown * alpha, size, 2, corners=False), size, 3, corners=False)
