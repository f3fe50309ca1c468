"""A photograph fitted into the network's square, and the network's map fitted back onto the photograph. No torch.

Fitting averages areas, as OpenCV's INTER_AREA does; where a photograph is smaller than the square, it interpolates with
that mode's own weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.image_preparation import read_image
from gen3dexport.models.resampling import linear


@dataclass(frozen=True)
class Fitted:
    """A photograph in the middle of a black square.

    Attributes:
        pixels: uint8 [S, S, 3]; box: top, left, height and width of the photograph in it; size: its own height, width.
    """

    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]
    size: tuple[int, int]


def fitted(source: Any, edge: int) -> Fitted:
    """A photograph scaled so that its longer side is `edge`; what is transparent in it is black.

    Args:
        source: a file's path, an uint8 array [H, W, 3 or 4], or a Pillow image.

    Raises:
        UsageError: when the picture cannot be read.
    """
    picture = np.asarray(read_image(source))
    if picture.shape[2] == 4:
        picture = np.rint(picture[..., :3] * (picture[..., 3:] / 255.0)).astype(np.uint8)
    height, width = picture.shape[:2]
    scale = edge / max(height, width)
    rows, columns = (max(1, round(scale * side)) for side in (height, width))
    small = np.rint(_areas(_areas(picture.astype(np.float32), rows, 0), columns, 1)).clip(0, 255)
    top, left = (edge - rows) // 2, (edge - columns) // 2
    square = np.zeros((edge, edge, 3), np.uint8)
    square[top : top + rows, left : left + columns] = small.astype(np.uint8)
    return Fitted(square, (top, left, rows, columns), (height, width))


def on_picture(values: NDArray[np.float32], box: NDArray[Any], size: NDArray[Any]) -> NDArray[np.float32]:
    """A map [S, S] of the square, without the padding, at `size` (height, width): bilinear, pixels as areas."""
    top, left, rows, columns = (int(v) for v in box)
    inside = values[top : top + rows, left : left + columns]
    for axis, count in enumerate(int(v) for v in size):
        inside = linear(inside, count, axis, corners=False)
    return inside


def _areas(values: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    """The mean of what each of `size` new pixels along an axis covers; where they grow, see `_grown`."""
    count = values.shape[axis]
    if size >= count:
        return values if size == count else _grown(values, size, axis)
    step = count / size
    first = np.arange(size) * step
    index = np.floor(first + 1e-9).astype(int)[:, None] + np.arange(int(np.ceil(step)) + 1)
    covered = np.minimum(index + 1, first[:, None] + step) - np.maximum(index, first[:, None])
    covered = np.where(covered > 1e-9, covered, 0) / step
    return _mixed(values, np.minimum(index, count - 1), covered, axis)


def _grown(values: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    """Between the two old pixels of a place; a new pixel that lies in one old pixel has that one's value."""
    count = values.shape[axis]
    index = np.floor(np.arange(size) * (count / size) + 1e-9).astype(int)
    share = np.arange(1, size + 1) - (index + 1) * (size / count)
    share = np.where(share <= 1e-9, 0, share - np.floor(share))
    return _mixed(values, np.minimum(np.stack([index, index + 1], 1), count - 1), np.stack([1 - share, share], 1), axis)


def _mixed(values: NDArray[np.float32], index: NDArray[Any], weights: NDArray[Any], axis: int) -> NDArray[np.float32]:
    """Sums of `weights` [N, taps] times the pixels at `index` [N, taps] along an axis."""
    shape = [1] * values.ndim
    shape[axis] = len(index)
    made = np.zeros((*values.shape[:axis], len(index), *values.shape[axis + 1 :]), np.float32)
    for tap in range(index.shape[1]):
        made += np.take(values, index[:, tap], axis) * weights[:, tap].astype(np.float32).reshape(shape)
    return made
