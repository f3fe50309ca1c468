"""The shape set: every attribute combination of every category, its occupancy and its side of the train/test split."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training.trellis_mini import furniture, objects, sdf, vehicles
from training.trellis_mini.category import TURNS, Category
from training.trellis_mini.sdf import RESOLUTION, Field

CATEGORIES: dict[str, Category] = {c.name: c for c in furniture.CATEGORIES + vehicles.CATEGORIES + objects.CATEGORIES}
SPLIT_SEED = "trellis-mini-1"
HELD_OUT_SHARE = 0.10

Shape = tuple[str, dict[str, str]]


def occupancy(category: str, params: Mapping[str, str]) -> NDArray[np.bool_]:
    """Occupancy [32, 32, 32] (axes x, y, z; z up) of the shape that a choice of all attributes names."""
    solid = CATEGORIES[category].build(params) < 0
    return np.ascontiguousarray(np.rot90(solid, TURNS[params.get("facing", "front")], axes=(0, 1)))


def field(category: str, params: Mapping[str, str], points: Field) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Signed distance [N] (negative inside; a bound away from the surface) at points [N, 3] of [-1, 1]^3, and whether
    the nearest part has the second color [N]."""
    x, y, z = points.astype(np.float32).T
    for _ in range(TURNS[params.get("facing", "front")]):
        x, y = y, -x
    with sdf.evaluated_at(np.stack([x, y, z], 1)) as accents:
        whole = CATEGORIES[category].build(params)
        second = np.zeros(whole.shape, bool)
        for part in accents:
            second |= part <= whole + np.float32(1e-5)
    return whole.astype(np.float32), second


def combinations(category: str) -> list[dict[str, str]]:
    """Every choice of attributes of a category, in a fixed order."""
    attributes = CATEGORIES[category].attributes
    names = [a.name for a in attributes]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(a.options for a in attributes))]


def is_held_out(category: str, params: Mapping[str, str]) -> bool:
    """Whether a combination belongs to the test split; a seeded hash decides, so the split never depends on order."""
    text = "/".join([SPLIT_SEED, category, *(f"{k}={params[k]}" for k in sorted(params))])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") / 2**32 < HELD_OUT_SHARE


def all_shapes() -> tuple[list[Shape], list[Shape]]:
    """All combinations as (training, held out)."""
    split: tuple[list[Shape], list[Shape]] = ([], [])
    for category in CATEGORIES:
        for params in combinations(category):
            split[is_held_out(category, params)].append((category, params))
    return split


def pack(shapes: list[Shape]) -> NDArray[np.uint8]:
    """Packed-bit occupancies [N, 4096] of a list of shapes."""
    return np.stack([np.packbits(occupancy(*shape).ravel()) for shape in shapes])


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Occupancies [N, 32, 32, 32] of packed rows."""
    return np.unpackbits(packed, axis=1).reshape(-1, RESOLUTION, RESOLUTION, RESOLUTION).astype(bool)
