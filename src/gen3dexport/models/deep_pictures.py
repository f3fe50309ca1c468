"""Pictures of other than 8 bits a channel, whose values Pillow gives as they are stored. No torch.

Sources: W3C, "Portable Network Graphics (PNG) Specification", tRNS; Adobe, "TIFF 6.0", PhotometricInterpretation and
SampleFormat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from gen3dexport.errors import UsageError

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2
_OF_BITS = {"L;2": 85, "L;4": 17}
"""How many 8-bit grey steps Pillow makes of one of 2 and of 4 bits."""


def scale_transparency(image: Image.Image) -> None:
    """Say the transparent colour of a PNG in the values that Pillow makes of its pixels, before it makes them.

    Pillow keeps it as it is stored, and compares 2- and 4-bit grey, and colours of 16 bits, whose upper 8 it keeps.
    """
    clear = image.info.get("transparency")
    tiles = getattr(image, "tile", None)  # of a file whose pixels are not read yet
    form = tiles[0][3] if tiles else None
    if isinstance(clear, int) and isinstance(form, str) and form in _OF_BITS:
        image.info["transparency"] = clear * _OF_BITS[form]
    elif isinstance(clear, tuple) and form == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in clear)


@dataclass(frozen=True)
class GreyRange:
    """What a deep grey picture's file says of its values.

    Attributes:
        white: where it says so, the largest value.
        inverted: 0 is white, and the largest value black.
    """

    white: float | None = None
    inverted: bool = False

    @classmethod
    def of(cls, image: Image.Image) -> Self:
        """By the tags of a TIFF; of another picture nothing is known."""
        tags = getattr(image, "tag_v2", {})
        signed = tags.get(_SAMPLE_FORMAT) == (_SIGNED,) and tags.get(_BITS) == (16,)
        return cls(32767.0 if signed else None, tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)

    def in_bytes(self, image: Image.Image) -> Image.Image:
        """A grey picture of 16 or 32 bits in RGB, or RGBA where a grey value is said to be transparent.

        Raises:
            UsageError: for values whose range cannot be told.
        """
        values = np.asarray(image).astype(np.float64)
        low, high = float(values.min()), float(values.max())
        most = self.white or (1.0 if image.mode == "F" else 65535.0)
        # 32-bit whole numbers up to 255 may be bytes; which range is meant cannot be told.
        unclear = image.mode == "I" and self.white is None and 0 < high <= 255
        if not (low >= 0 and high <= most) or unclear:
            raise UsageError(
                f"image: its grey values (Pillow's mode {image.mode}) run from {low:g} to {high:g}; need 0 to "
                f"{most:g}, with white at the end; scale them, or save the picture with 8 bits a channel"
            )
        shown = most - values if self.inverted else values
        grey = Image.fromarray(np.rint(shown / most * 255).astype(np.uint8))
        clear = image.info.get("transparency")
        if clear is None:
            return grey.convert("RGB")
        alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
        return Image.merge("RGBA", (grey, grey, grey, alpha))
