"""A picture made ready for TripoSG's image encoder: the subject cut out, on white, its middle normalised. No torch.

Source: Li et al. 2025, "TripoSG"; the last steps are those of the transformers library's processor for DINOv2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.errors import UsageError
from gen3dexport.models.image_preparation import cut_out, read_image
from gen3dexport.models.normalisation import Normalisation
from gen3dexport.models.triposg.host.model import Processor

_LONGEST = 2000  # pixels of the longer side that a picture is worked on at
_BINS, _SHARE = 20, 0.01  # an alpha channel is a mask where each end of its histogram has this share of the pixels
_PADDING = 0.1  # of the subject's longer side, at each end


def pixels(source: Any, processor: Processor) -> NDArray[np.float32]:
    """The subject of a picture as [1, 3, crop_size, crop_size] float32, normalised.

    Args:
        source: a file's path, an uint8 array [H, W, 3 or 4], or a Pillow image.

    Raises:
        UsageError: when the picture cannot be read, or is transparent all over.
        MissingError: when its background must be removed first and the package or model for that is not here.
    """
    image = limited(read_image(source))
    if image.mode == "RGBA" and not is_mask(np.asarray(image.getchannel("A"))):
        image = image.convert("RGB")
    return normalised(on_white(subject(np.asarray(cut_out(image)))), processor)


def limited(image: Image.Image) -> Image.Image:
    """The picture with no side above 2000 pixels; each of its pixels is the mean of those that it covers."""
    scale = _LONGEST / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(edge * scale)) for edge in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def is_mask(alpha: NDArray[np.uint8]) -> bool:
    """Whether an alpha channel [H, W] cuts something out: some of it is opaque, and some transparent."""
    counts = np.histogram(alpha, bins=_BINS, range=(0, 255))[0]
    return bool(min(counts[0], counts[-1]) >= _SHARE * alpha.size)


def subject(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part of an RGBA picture [H, W, 4] where alpha is above 0, in the middle of a transparent square [S, S, 4].

    Its longer side is S / 1.2.

    Raises:
        UsageError: when there is no subject.
    """
    rows, columns = np.nonzero(picture[..., 3])
    if not len(rows):
        raise UsageError("image: nothing in it is opaque, so there is no subject; is its alpha channel right?")
    cropped = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = cropped.shape[:2]
    side = max(height, width)
    outer = side + 2 * int(_PADDING * side)
    top, left = (outer - height) // 2, (outer - width) // 2
    square = np.zeros((outer, outer, 4), np.uint8)
    square[top : top + height, left : left + width] = cropped
    return square


def on_white(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An RGBA picture [H, W, 4] over white: uint8 [H, W, 3], rounded down."""
    values = picture.astype(np.float32) / 255
    blended = values[..., :3] * values[..., 3:] + (1 - values[..., 3:])
    result: NDArray[np.uint8] = (blended * 255).astype(np.uint8)
    return result


def normalised(square: NDArray[np.uint8], processor: Processor) -> NDArray[np.float32]:
    """A square picture [S, S, 3] resized bicubically, its middle cut out, each channel normalised: [1, 3, C, C]."""
    size, edge = processor.size, processor.crop_size
    resized = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC), np.float32)
    start = (size - edge) // 2
    middle = resized[start : start + edge, start : start + edge] / 255
    return Normalisation(processor.image_mean, processor.image_std).picture(middle)
