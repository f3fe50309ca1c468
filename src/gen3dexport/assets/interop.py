"""What conversions to and from other libraries share: axes, colours, and the words for a wrong object.

Assets here are z up and right-handed, colours are bytes as displays take them (sRGB). `up` names the axis that points
up on the other side: "z", "y", or "-y" (y down, as cameras of COLMAP have it). Only rotations are made, so a
right-handed frame stays one, and no length changes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.colour import display_light, linear_light
from gen3dexport.errors import UsageError

Up = Literal["z", "y", "-y"]
Light = Literal["srgb", "linear"]
_TO_Z_UP: dict[str, NDArray[np.float64]] = {
    "z": np.eye(3),
    "y": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64),
    "-y": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float64),
}
_SLACK = 1e-3


def to_z_up(up: Up) -> NDArray[np.float64]:
    """The rotation [3, 3] from the other side's frame into this one; its transpose leads back.

    Raises:
        UsageError: for another word.
    """
    if up not in _TO_Z_UP:
        raise UsageError(f"up={up!r}: there are {', '.join(_TO_Z_UP)}")
    return _TO_Z_UP[up]


def turned(vectors: Any, frame: NDArray[np.float64]) -> NDArray[np.float32]:
    """Vectors [N, 3] after a rotation [3, 3]."""
    found: NDArray[np.float32] = (rows(vectors, 3).astype(np.float64) @ frame.T).astype(np.float32)
    return found


def rows(values: Any, width: int) -> NDArray[np.float32]:
    """Values of any library as float32 [N, width].

    Raises:
        UsageError: for another shape.
    """
    found = np.asarray(on_host(_detached(values)), np.float32)
    if found.ndim != 2 or found.shape[1] != width:
        raise UsageError(f"an array has shape {list(found.shape)}; needs [N, {width}]")
    return found


def indices(values: Any) -> NDArray[np.int64]:
    """Triangles [F, 3] of any library.

    Raises:
        UsageError: for faces of another number of corners.
    """
    value = _detached(values)
    found = np.asarray(value.cpu() if hasattr(value, "cpu") else value)  # as integers: `on_host` makes float32
    if found.ndim != 2 or found.shape[1] != 3:
        raise UsageError(f"faces have shape {list(found.shape)}; needs triangles [F, 3]")
    return found.astype(np.int64)


def bytes_of(colors: Any, light: Light = "srgb") -> NDArray[np.uint8]:
    """Colours [N, 3 or 4] as bytes [N, 3] that displays take; what covers (alpha) is left out.

    Args:
        colors: bytes, or floating-point numbers in [0, 1]. light: what those numbers are.

    Raises:
        UsageError: for numbers beyond [0, 1].
    """
    found = np.asarray(on_host(_detached(colors)) if not isinstance(colors, np.ndarray) else colors)
    if found.ndim != 2 or found.shape[1] not in (3, 4):
        raise UsageError(f"colours have shape {list(found.shape)}; needs [N, 3] or [N, 4]")
    found = found[:, :3]
    if found.dtype == np.uint8:
        if light == "srgb":
            return np.ascontiguousarray(found)
        found = found / 255
    if found.dtype.kind != "f":
        raise UsageError(f"colours are of type {found.dtype}; needs bytes, or floating-point numbers in [0, 1]")
    if found.size and not (found.min() >= -_SLACK and found.max() <= 1 + _SLACK):
        raise UsageError(f"colours go from {found.min():g} to {found.max():g}; needs numbers in [0, 1]")
    shown = np.clip(found.astype(np.float64), 0, 1)
    shown = shown if light == "srgb" else display_light(shown)
    return np.rint(255 * shown).astype(np.uint8)


def fractions_of(colors: NDArray[np.uint8], light: Light = "srgb") -> NDArray[np.float64]:
    """Bytes [N, 3] as numbers in [0, 1], as displays take them or in linear light."""
    found = colors.astype(np.float64) / 255
    return found if light == "srgb" else linear_light(found)


def wrong(what: Any, function: str, needs: str) -> UsageError:
    """The error for an object of another type."""
    return UsageError(f"{function}: got {type(what).__module__}.{type(what).__qualname__}; needs {needs}")


def one_of(batch: list[Any], index: int | None, function: str) -> int:
    """The place of the one that is meant in a batch.

    Raises:
        UsageError: when there are several and none is named, or no such one.
    """
    if index is None and len(batch) != 1:
        raise UsageError(f"{function}: a batch of {len(batch)}; name one with index=0 to {len(batch) - 1}")
    place = index or 0
    if not -len(batch) <= place < len(batch):
        raise UsageError(f"{function}: index={index}: the batch has {len(batch)}")
    return place


def _detached(values: Any) -> Any:
    return values.detach() if hasattr(values, "detach") else values
