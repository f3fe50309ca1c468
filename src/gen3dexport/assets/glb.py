"""The container of glTF 2.0 in one binary file (.glb), and its frame.

Source: Khronos, "glTF 2.0 Specification", sections 3.6 (buffers and accessors) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float64)
"""Rotation from the pipeline's frame into glTF's: z up (x, y, z) becomes y up (x, z, -y)."""

MAGIC, JSON_CHUNK, BINARY_CHUNK = b"glTF", b"JSON", b"BIN\0"
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
"""Component types of accessors, as NumPy names them."""
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963


def glb(
    attributes: Mapping[str, NDArray[Any]],
    indices: NDArray[Any] | None,
    primitive: Mapping[str, Any],
    document: Mapping[str, Any],
    pictures: Sequence[bytes] = (),
) -> bytes:
    """A file with one mesh of one primitive.

    Args:
        attributes: float32 [N] or [N, 2..4] by name; POSITION gets its bounds, as the specification asks.
        indices: uint16 or uint32 [M], or None.
        primitive: further fields of the primitive; document: further fields of the whole, e.g. its materials.
        pictures: PNG files, the images of the document by their index.
    """
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    chunks: list[bytes] = []

    def add_view(data: bytes, **further: int) -> int:
        views.append({"buffer": 0, "byteOffset": sum(map(len, chunks)), "byteLength": len(data), **further})
        chunks.append(data + b"\0" * (-len(data) % 4))
        return len(views) - 1

    def add(values: NDArray[Any], target: int, bounds: bool) -> int:
        width = 1 if values.ndim == 1 else values.shape[1]
        accessor = {
            "bufferView": add_view(np.ascontiguousarray(values).tobytes(), target=target),
            "componentType": next(code for code, name in COMPONENTS.items() if np.dtype(name) == values.dtype),
            "count": len(values),
            "type": next(name for name, w in WIDTHS.items() if w == width),
        }
        if bounds and len(values):
            accessor |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        accessors.append(accessor)
        return len(accessors) - 1

    names = {name: add(values, _ARRAY_BUFFER, name == "POSITION") for name, values in attributes.items()}
    inside: dict[str, Any] = {"attributes": names, **primitive}
    if indices is not None:
        inside["indices"] = add(indices, _ELEMENT_ARRAY_BUFFER, False)
    images = [{"bufferView": add_view(data), "mimeType": "image/png"} for data in pictures]
    whole = {
        "asset": {"version": "2.0", "generator": "gen3dexport"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [inside]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": sum(map(len, chunks))}],
        **({"images": images} if images else {}),
        **document,
    }
    text = json.dumps(whole, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = _chunk(JSON_CHUNK, text) + _chunk(BINARY_CHUNK, b"".join(chunks))
    return MAGIC + struct.pack("<II", 2, 12 + len(body)) + body


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + kind + data
