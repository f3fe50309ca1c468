"""Triangles out of a .glb, also of other tools' files: read as the specification says, or refused.

Source: Khronos, "glTF 2.0 Specification"; KHR_mesh_quantization.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.glb import BINARY_CHUNK, COMPONENTS, JSON_CHUNK, MAGIC, WIDTHS

Floats = NDArray[np.float64]
Json = Mapping[str, Any]

_READABLE = {"KHR_mesh_quantization", "KHR_materials_unlit"}
_TRIANGLES = 4
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, struct.error)
"""What Python raises on values of other kinds than the specification has."""


class GlbProblem(ValueError):
    """What is wrong with a file, or in it and not read here."""


@dataclass(frozen=True, eq=False)
class Triangles:
    """Everything of a file in one piece, in glTF's frame.

    Attributes:
        vertices: [V, 3]; faces: int64 [F, 3].
        colors: [V, 3] linear light, or None where no part has any (a texture's are not read); white for parts without.
    """

    vertices: Floats
    faces: NDArray[np.int64]
    colors: Floats | None


def read_triangles(data: bytes) -> Triangles:
    """The triangles of the file's scene, each mesh placed by its nodes, colours times their material's factor.

    Raises:
        GlbProblem: when the file is damaged, or needs what is not read here (compression, sparse accessors, morphing).
    """
    try:
        document, binary = _chunks(data)
        required = set(document.get("extensionsRequired", ())) - _READABLE
        if required:
            raise GlbProblem(f"needs {', '.join(sorted(required))}, which is not read here")
        parts = []
        for mesh, placed in _meshes(document):
            for primitive in mesh["primitives"]:
                parts.append(_part(document, binary, primitive, placed))
    except GlbProblem:
        raise
    except _DAMAGE as error:
        raise GlbProblem(f"is damaged ({type(error).__name__}: {error})") from error
    if not parts:
        raise GlbProblem("holds no mesh")
    starts = np.cumsum([0, *(len(p.vertices) for p in parts)])
    colors = None
    if any(p.colors is not None for p in parts):
        colors = np.concatenate([np.ones_like(p.vertices) if p.colors is None else p.colors for p in parts])
    return Triangles(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + start for p, start in zip(parts, starts[:-1], strict=True)]),
        colors,
    )


def _chunks(data: bytes) -> tuple[Json, bytes]:
    if data[:4] != MAGIC or len(data) < 20:
        raise GlbProblem("is no .glb")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2 or length != len(data):
        raise GlbProblem(f"is of version {version} and {length} bytes; need version 2, and it has {len(data)} bytes")
    found: dict[bytes, bytes] = {}
    at = 12
    while at < len(data):
        size, kind = struct.unpack_from("<I4s", data, at)
        found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    document: Json = json.loads(found[JSON_CHUNK])
    return document, found.get(BINARY_CHUNK, b"")


def _meshes(document: Json) -> list[tuple[Json, Floats]]:
    """Meshes and their placements [4, 4], walking the nodes of the scene; all meshes at the origin without a scene."""
    if "scenes" not in document:
        return [(mesh, np.eye(4)) for mesh in document.get("meshes", ())]
    nodes, found = document.get("nodes", ()), []
    scene = _item(document["scenes"], document.get("scene", 0))
    waiting = deque((n, np.eye(4)) for n in scene.get("nodes", ()))
    seen = set()
    while waiting:
        index, above = waiting.popleft()
        if index in seen:
            raise GlbProblem(f"has nodes that are no trees: node {index} is reached twice")
        seen.add(index)
        node = _item(nodes, index)
        placed = above @ _placement(node)
        if "mesh" in node:
            found.append((_item(document["meshes"], node["mesh"]), placed))
        waiting.extend((child, placed) for child in node.get("children", ()))
    return found


def _item(items: Sequence[Json], index: int) -> Json:
    """An item of a list, by a number that is not negative."""
    if index < 0:
        raise IndexError(f"{index} is no place in a list")
    return items[index]


def _placement(node: Json) -> Floats:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    placed = np.eye(4)
    placed[:3, :3] = np.array(turn) * np.array(node.get("scale", (1, 1, 1)), np.float64)
    placed[:3, 3] = node.get("translation", (0, 0, 0))
    return placed


def _part(document: Json, binary: bytes, primitive: Json, placed: Floats) -> Triangles:
    if primitive.get("mode", _TRIANGLES) != _TRIANGLES:
        raise GlbProblem("holds points, lines or strips, which are not read here")
    if "targets" in primitive or "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
        raise GlbProblem("holds morphed or compressed meshes, which are not read here")
    attributes = primitive["attributes"]
    vertices = _accessor(document, binary, attributes["POSITION"])
    with np.errstate(over="ignore", invalid="ignore"):
        vertices = vertices @ placed[:3, :3].T + placed[:3, 3]
    corners = np.arange(len(vertices), dtype=np.int64)
    if "indices" in primitive:
        corners = _accessor(document, binary, primitive["indices"]).astype(np.int64)
    if not (np.abs(vertices) <= np.finfo(np.float32).max).all():
        raise GlbProblem("has vertices at no place that 32 bits can say")
    if len(corners) % 3 or (len(corners) and not 0 <= corners.min() <= corners.max() < len(vertices)):
        raise GlbProblem(f"names vertices that are not there, or no whole triangles ({len(corners)} corners)")
    faces = corners.reshape(-1, 3)
    if np.linalg.det(placed[:3, :3]) < 0:  # a mirrored placement turns faces inside out
        faces = faces[:, ::-1]
    return Triangles(vertices, faces, _colors(document, binary, primitive, len(vertices)))


def _colors(document: Json, binary: bytes, primitive: Json, count: int) -> Floats | None:
    """Linear light [count, 3] of vertices: their own or white, times their material's; None where neither says any."""
    surface: Json = {}
    if "material" in primitive:
        surface = _item(document["materials"], primitive["material"]).get("pbrMetallicRoughness", {})
    if "baseColorTexture" in surface:  # colours of places between vertices, which vertices cannot have
        return None
    factor = np.array(surface.get("baseColorFactor", (1, 1, 1, 1)), np.float64)[:3]
    if "COLOR_0" in primitive["attributes"]:
        colors: Floats = _accessor(document, binary, primitive["attributes"]["COLOR_0"])[:, :3] * factor
    elif (factor != 1).any():
        colors = np.tile(factor, (count, 1))
    else:
        return None
    if not np.isfinite(colors).all():
        raise GlbProblem("has colours that are no finite numbers")
    if colors.shape != (count, 3):
        raise GlbProblem(f"has colours {list(colors.shape)} of {count} vertices")
    return colors


def _accessor(document: Json, binary: bytes, index: int) -> Floats:
    """The values [N] or [N, 2..4] of an accessor, whole numbers scaled where they are normalised."""
    accessor = _item(document["accessors"], index)
    if "sparse" in accessor or "bufferView" not in accessor:
        raise GlbProblem("holds sparse accessors, which are not read here")
    view = _item(document["bufferViews"], accessor["bufferView"])
    if "EXT_meshopt_compression" in view.get("extensions", {}) or "uri" in document["buffers"][view["buffer"]]:
        raise GlbProblem("holds compressed buffers or such in other files, which are not read here")
    kind, width, count = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]], accessor["count"]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride", kind.itemsize * width)
    size = kind.itemsize * width
    if min(start, count, stride - size) < 0 or start + stride * (count - 1) + size > len(binary):
        raise GlbProblem("is cut short: an accessor reaches beyond its end")
    rows = np.ndarray((count, width), kind, binary, start, (stride, kind.itemsize))
    values = rows.astype(np.float64)
    if accessor.get("normalized", False) and kind.kind in "iu":
        values = np.maximum(values / np.iinfo(kind).max, -1.0)
    return values[:, 0] if width == 1 else values
