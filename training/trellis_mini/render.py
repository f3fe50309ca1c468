"""A small shaded voxel renderer for contact sheets (NumPy and Pillow only)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_TOP, _FRONT, _RIGHT = (236, 205, 142), (206, 152, 92), (150, 104, 66)


def draw(occupancy: NDArray[np.bool_], cell: int = 3) -> Image.Image:
    """Isometric picture of the front (-y), right (+x) and top faces of a voxel grid."""
    n = occupancy.shape[0]
    width, height = 4 * n * cell // 2, 4 * n * cell // 2
    image = Image.new("RGB", (width + 4, height + 4), (250, 250, 250))
    pen = ImageDraw.Draw(image)
    filled = np.pad(occupancy, 1)
    hidden = filled[2:, 1:-1, 1:-1] & filled[1:-1, :-2, 1:-1] & filled[1:-1, 1:-1, 2:]
    order = np.argwhere(occupancy & ~hidden)
    order = order[np.lexsort((order[:, 2], order[:, 0], -order[:, 1]))]

    def at(x: float, y: float, z: float) -> tuple[float, float]:
        # the viewer stands at front right, looking down: +x goes right and down, +y (away) right and up
        return (x + y) * cell + 2, height / 2 + (x - y) * cell / 2 - (z - n / 2) * cell + 2

    for x, y, z in order:
        shade = 0.72 + 0.28 * z / n

        def face(colour: tuple[int, int, int], *points: tuple[float, float, float], shade: float = shade) -> None:
            fill = (int(colour[0] * shade), int(colour[1] * shade), int(colour[2] * shade))
            pen.polygon([at(*p) for p in points], fill=fill)

        if not filled[x + 1, y + 1, z + 2]:
            face(_TOP, (x, y, z + 1), (x + 1, y, z + 1), (x + 1, y + 1, z + 1), (x, y + 1, z + 1))
        if not filled[x + 1, y, z + 1]:
            face(_FRONT, (x, y, z), (x + 1, y, z), (x + 1, y, z + 1), (x, y, z + 1))
        if not filled[x + 2, y + 1, z + 1]:
            face(_RIGHT, (x + 1, y, z), (x + 1, y + 1, z), (x + 1, y + 1, z + 1), (x + 1, y, z + 1))
    return image


def sheet(items: Sequence[tuple[NDArray[np.bool_], str]], columns: int = 6, cell: int = 3) -> Image.Image:
    """A contact sheet of pictures with captions underneath."""
    pictures = [draw(occupancy, cell) for occupancy, _ in items]
    wide, high = pictures[0].size
    rows = -(-len(items) // columns)
    label = 56
    out = Image.new("RGB", (columns * wide, rows * (high + label)), (250, 250, 250))
    pen = ImageDraw.Draw(out)
    per_line = max(10, wide // 6)
    for i, (picture, (_, text)) in enumerate(zip(pictures, items, strict=True)):
        x, y = i % columns * wide, i // columns * (high + label)
        out.paste(picture, (x, y))
        lines, line = [], ""
        for word in text.split():
            if len(line) + len(word) + 1 > per_line:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        pen.multiline_text((x + 4, y + high), "\n".join([*lines, line][:4]), fill=(40, 40, 40), spacing=1)
    return out
