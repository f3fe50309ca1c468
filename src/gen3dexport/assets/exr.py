"""OpenEXR files: maps of floats written, pictures in linear light read. The package OpenEXR does the work.

Source: Academy Software Foundation, "OpenEXR File Layout" and "Technical Introduction to OpenEXR" (channel names).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGE, EXTRA = "OpenEXR", "exr"
"""What must be installed, and the extra of this project that brings it."""


def content(channels: Mapping[str, NDArray[np.float32]], attributes: Mapping[str, Any]) -> bytes:
    """The bytes of a scan-line file with ZIP compression, which loses nothing.

    Args:
        channels: float32 [H, W] by name; attributes: text and numbers of the header.
    """
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **attributes}
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as folder:
        path = Path(folder) / "a.exr"  # the package writes to paths alone
        made = {name: np.ascontiguousarray(values, np.float32) for name, values in channels.items()}
        with OpenEXR.File(header, made) as file:
            file.write(str(path))
        return path.read_bytes()


def channels_of(path: Path) -> dict[str, NDArray[np.float32]]:
    """The channels [H, W] of a file's first part, by name, in float32.

    Raises:
        ValueError: when the file cannot be read, or its channels differ in size.
    """
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            found = {name: np.asarray(c.pixels, np.float32) for name, c in file.channels().items()}
    except Exception as error:  # the package raises many types; the cause is kept
        raise ValueError(str(error)) from error
    if len({values.shape for values in found.values()}) != 1:
        raise ValueError("its channels differ in size")
    return found
