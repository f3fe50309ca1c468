"""Pictures and picture files of values on a grid of pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Dark to bright, blue to yellow: even steps of lightness, also for eyes that see red and green alike.
_STOPS = np.array(
    [[13, 18, 61], [52, 59, 130], [46, 116, 150], [73, 167, 137], [158, 207, 103], [250, 233, 110]], float
)

WHITE = 65535
"""The brightest of 16 bits."""


def false_colours(values: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture [H, W, 3] of values [H, W], from their least (dark) to their greatest (bright); white where a value is
    not finite."""
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
    place = np.where(finite, values - low, 0) / ((high - low) or 1.0) * (len(_STOPS) - 1)
    channels = [np.interp(place, np.arange(len(_STOPS)), _STOPS[:, c]) for c in range(3)]
    shown = np.where(finite[..., None], np.stack(channels, -1), 255.0)
    picture: NDArray[np.uint8] = np.rint(shown).astype(np.uint8)
    return picture


def tiff(values: NDArray[np.float32]) -> bytes:
    """The bytes of a TIFF of float32 values [H, W]."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values, np.float32)).save(stream, format="TIFF")
    return stream.getvalue()


def steps16(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint16]:
    """Values in even steps of 16 bits: `low` is 0, `high` is 65535."""
    shares = (np.asarray(values, np.float64) - low) / ((high - low) or 1.0)
    return np.rint(np.clip(shares, 0, 1) * WHITE).astype(np.uint16)


def grey16(values: NDArray[np.uint16], texts: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a PNG of 16-bit values [H, W], with text entries by name."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    entries, stream = PngInfo(), io.BytesIO()
    for name, text in (texts or {}).items():
        entries.add_text(name, text)
    Image.fromarray(np.ascontiguousarray(values, np.uint16)).save(stream, format="PNG", pnginfo=entries)
    return stream.getvalue()
