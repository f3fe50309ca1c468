"""A picture made ready for Hunyuan3D-2's image encoder: the subject cut out, on white, resized, normalised. No torch.

Source: Zhao et al. 2025, "Hunyuan3D 2.0". The release resizes with OpenCV, whose filters are not repeated bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.errors import UsageError
from gen3dexport.models.image_preparation import cut_out, read_image
from gen3dexport.models.normalisation import IMAGENET
from gen3dexport.models.resampling import tent

_BORDER = 0.15  # of the square's edge, that the subject leaves free
_SIZE = 512  # edge of the picture before the encoder's own resizing


def pixels(source: Any, size: int) -> NDArray[np.float32]:
    """The subject of a picture as [1, 3, size, size] float32 in ImageNet's normalisation.

    Args:
        source: a file's path, an uint8 array [H, W, 3 or 4], or a Pillow image.

    Raises:
        UsageError: when the picture cannot be read, or has no subject.
        MissingError: when its background must be removed first and the package or model for that is not here.
    """
    square = centred(cut_out(read_image(source))).resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)
    values = np.asarray(square, np.float32) / np.float32(255)
    scaled = np.clip(tent(tent(values, size, axis=1), size, axis=0), 0, 1)
    return IMAGENET.picture(scaled)


def centred(image: Image.Image) -> Image.Image:
    """The subject of an RGBA picture in the middle of a white square, RGB; it fills 85 % of the longer side.

    The subject is where alpha is above 0. Its last row and column are left out, as the release does.

    Raises:
        UsageError: when there is no subject, or it is one pixel high or wide.
    """
    rows, columns = np.nonzero(np.asarray(image.getchannel("A")))
    if not len(rows):
        raise UsageError("image: nothing in it is opaque, so there is no subject; is its alpha channel right?")
    left, top, right, bottom = (int(v) for v in (columns.min(), rows.min(), columns.max(), rows.max()))
    if right == left or bottom == top:
        raise UsageError("image: its subject is one pixel high or wide; give a larger picture")
    side = max(image.size)
    scale = int(side * (1 - _BORDER)) / max(right - left, bottom - top)
    width, height = (max(1, int(n * scale)) for n in (right - left, bottom - top))
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    subject = image.crop((left, top, right, bottom)).resize((width, height), filter_)
    square = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    square.alpha_composite(subject, ((side - width) // 2, (side - height) // 2))
    return square.convert("RGB")
