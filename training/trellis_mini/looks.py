"""Colours and materials: a palette, how a look paints a point, and which pairs of colours training never sees."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from training.trellis_mini.sdf import Field

Colors = NDArray[np.float32]

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.10, 0.10),
    "orange": (0.95, 0.50, 0.08),
    "yellow": (0.95, 0.85, 0.15),
    "green": (0.12, 0.55, 0.18),
    "blue": (0.12, 0.25, 0.78),
    "purple": (0.48, 0.15, 0.62),
    "pink": (0.95, 0.55, 0.70),
    "white": (0.95, 0.95, 0.95),
    "grey": (0.50, 0.50, 0.50),
    "black": (0.06, 0.06, 0.06),
    "brown": (0.42, 0.24, 0.10),
}
MATERIALS: dict[str, tuple[str, ...]] = {
    "plain": ("", "", "plastic"),
    "wooden": ("wooden",),
    "metal": ("metal", "metallic"),
    "striped": ("striped",),
}
_STEEL, _STRIPE = np.array([0.72, 0.76, 0.80], np.float32), np.array([0.95, 0.95, 0.95], np.float32)
_UNSEEN_SHARE = 0.10

# The noun of the part that has the second colour: one word, or one for each value of the attribute that decides it.
_ACCENTS: dict[str, str | tuple[str, Mapping[str, str | None]]] = {
    "chair": ("legs", {"thin": "legs", "thick": "legs", "pedestal": "pedestal"}),
    "table": ("legs", {"thin": "legs", "thick": "legs", "pedestal": "pedestal", "panels": "panels"}),
    "bench": ("legs", {"four": "legs", "panels": "legs", "solid": "base"}),
    "bed": "mattress",
    "shelf": ("boards", {"one": "shelf", "two": "shelves", "three": "shelves"}),
    "lamp": ("shade", {"cone": "shade", "drum": "shade", "globe": "shade"}),
    "rocket": "fins",
    "car": "wheels",
    "boat": ("deck", {"open": "seat", "sail": "sail", "cabin": "cabin", "funnel": "cabin"}),
    "airplane": "wings",
    "mug": "handle",
    "bottle": "neck",
    "house": "roof",
    "tree": "trunk",
    "stairs": ("rail", {"none": None, "left": "railing", "right": "railing", "both": "railings"}),
    "mushroom": "stem",
}


@dataclass(frozen=True)
class Look:
    """The colour and material of a shape, and the colour of its accent (always plain)."""

    main: str
    material: str
    accent: str


def accent_noun(category: str, params: Mapping[str, str]) -> str | None:
    """What captions call the part that has the second colour; None where a shape has no such part."""
    entry = _ACCENTS[category]
    return entry if isinstance(entry, str) else entry[1][params[entry[0]]]


def is_unseen(main: str, accent: str) -> bool:
    """Whether a pair of colours is kept out of training; a seeded hash decides."""
    digest = hashlib.sha256(f"trellis-mini-color-1/{main}/{accent}".encode()).digest()
    return int.from_bytes(digest[:4], "little") / 2**32 < _UNSEEN_SHARE


def draw_look(rng: Random, unseen: bool = False) -> Look:
    """A random look with two different colours, of the pairs that training sees or of the others."""
    while True:
        main, accent = rng.sample(list(PALETTE), 2)
        if is_unseen(main, accent) == unseen:
            return Look(main, rng.choice(("plain", *MATERIALS)), accent)


def paint(look: Look, points: Field, second: NDArray[np.bool_]) -> Colors:
    """Colours [N, 3] in [0, 1] of points [N, 3] of [-1, 1]^3, `second` where the accent is."""
    main = np.array(PALETTE[look.main], np.float32)
    if look.material == "plain":
        colors = np.broadcast_to(main, (len(points), 3))
    elif look.material == "metal":
        colors = np.broadcast_to((main + _STEEL) / 2, (len(points), 3))
    else:
        x, y, z = points.T
        if look.material == "wooden":  # darker grain
            share = 0.5 + 0.5 * np.sin(2 * np.pi * (0.6 * x + 0.6 * y + z) / 0.22)
            colors = main * (1 - 0.5 * share)[:, None]
        else:
            share = np.clip(0.5 + 2 * np.sin(2 * np.pi * (0.7 * x + 0.4 * y + z) / 0.45), 0, 1)
            colors = main + (_STRIPE - main) * share[:, None]
    return np.where(second[:, None], np.array(PALETTE[look.accent], np.float32), colors).astype(np.float32)


def nearest_main(colors: Colors, points: Field, material: str) -> str:
    """The palette's colour that, on that material, comes closest to colours [N, 3] at points [N, 3]."""
    nothing = np.zeros(len(points), bool)
    return min(
        PALETTE, key=lambda name: float(np.abs(paint(Look(name, material, name), points, nothing) - colors).mean())
    )


def nearest_material(colors: Colors, points: Field, main: str) -> str:
    """The material that, in that colour, comes closest to colours [N, 3] at points [N, 3]."""
    nothing = np.zeros(len(points), bool)
    return min(
        MATERIALS, key=lambda name: float(np.abs(paint(Look(main, name, main), points, nothing) - colors).mean())
    )


def nearest_accent(colors: Colors) -> str:
    """The palette's colour that comes closest to colours [N, 3]."""
    return min(PALETTE, key=lambda name: float(np.abs(np.array(PALETTE[name], np.float32) - colors).mean()))
