"""Contact sheets of generated shapes: the package's renderer plus captions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gen3dexport.assets.draw.render import render
from gen3dexport.assets.mesh import from_occupancy_logits

_PAPER, _INK = (250, 250, 250), (40, 40, 40)
_FRONT_RIGHT = -52.0


def draw(logits: NDArray[np.float32], size: int) -> Image.Image:
    """A picture of the surface of occupancy logits [R, R, R], seen from the front (-y) and the right (+x)."""
    if not (logits > 0).any():
        return Image.new("RGB", (size, size), _PAPER)
    return Image.fromarray(render(from_occupancy_logits(logits), azimuth=_FRONT_RIGHT, elevation=26, size=size))


def sheet(items: Sequence[tuple[NDArray[np.float32], str]], columns: int = 6, size: int = 190) -> Image.Image:
    """Pictures in rows with captions underneath."""
    rows, label = -(-len(items) // columns), 58
    out = Image.new("RGB", (columns * size, rows * (size + label)), _PAPER)
    pen = ImageDraw.Draw(out)
    for i, (logits, text) in enumerate(items):
        x, y = i % columns * size, i // columns * (size + label)
        out.paste(draw(logits, size), (x, y))
        lines = textwrap.wrap(text, size // 6)[:4]
        pen.multiline_text((x + 4, y + size + 2), "\n".join(lines), fill=_INK, spacing=1)
    return out
