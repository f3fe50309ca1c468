"""What surfaces look like: colours in patterns of places in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PATTERNS = ("plain", "noise", "checker", "stripes", "bricks", "wood", "spots", "blocks", "cloudy")


@dataclass(frozen=True)
class Look:
    """A surface's look.

    Attributes:
        pattern: see `painted`; colors: [3, 3], of which patterns mix two or three; step: its size in metres.
        roughness: how much fine noise darkens and lightens it; shine: of its highlights; seed: of its noise.
    """

    pattern: str
    colors: Floats
    step: float
    roughness: float
    shine: float
    seed: int


def hashed(cell: NDArray[np.int64], seed: int) -> Floats:
    """A number in [0, 1) for every cell [N, 3] of a grid."""
    x = cell.astype(np.uint32)
    h = x[:, 0] * np.uint32(374761393) ^ x[:, 1] * np.uint32(668265263) ^ x[:, 2] * np.uint32(2246822519)
    h = (h ^ np.uint32(seed * 3266489917 % 2**32)) * np.uint32(2654435761)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(2246822519)
    return ((h ^ (h >> np.uint32(13))) & np.uint32(0xFFFFFF)).astype(np.float32) / np.float32(0x1000000)


def value_noise(p: Floats, seed: int) -> Floats:
    """Smooth noise in [0, 1) of places [N, 3], one random value a unit of length."""
    low = np.floor(p)
    cell, t = low.astype(np.int64), (p - low).astype(np.float32)
    t = t * t * (3 - 2 * t)
    found = np.zeros(len(p), np.float32)
    for corner in range(8):
        bits = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        x, y, z = (t[:, i] if bit else 1 - t[:, i] for i, bit in enumerate(bits))
        found += x * y * z * hashed(cell + bits, seed)
    return found


def fractal(p: Floats, seed: int, octaves: int = 3) -> Floats:
    """Sums of noise, each octave half as large and twice as fine, in [0, 1)."""
    parts = [value_noise(p * 2.0**i, seed + i) * 0.5**i for i in range(octaves)]
    return np.sum(parts, axis=0, dtype=np.float32) / np.float32(2 - 0.5 ** (octaves - 1))  # type: ignore[no-any-return]


def painted(look: Look, place: Floats) -> Floats:
    """Linear colours [N, 3] of places [N, 3] in metres, in the surface's own axes."""
    p = (place / look.step).astype(np.float32)
    first, second, third = look.colors
    match look.pattern:
        case "noise":
            share = fractal(p, look.seed)
        case "cloudy":
            share = np.clip(4 * fractal(p, look.seed, 4) - 1.5, 0, 1)
        case "checker":
            share = (np.floor(p + 1e-3) @ np.ones(3, np.float32) % 2).astype(np.float32)
        case "stripes":
            share = (np.floor(p[:, look.seed % 3] * 2 + 1e-3) % 2).astype(np.float32)
        case "bricks":
            share = _bricks(p, look.seed)
        case "wood":
            grain = fractal(p * np.array([0.3, 3, 3], np.float32), look.seed)
            share = 0.5 + 0.5 * np.sin(6 * p[:, 1] + 9 * grain)
        case "spots":
            near = np.linalg.norm(p - np.round(p), axis=1)
            share = (near < 0.2 + 0.3 * hashed(np.round(p).astype(np.int64), look.seed)).astype(np.float32)
        case "blocks":
            coarse = hashed(np.floor(p + 1e-3).astype(np.int64), look.seed)
            fine = hashed(np.floor(3 * p + 1e-3).astype(np.int64), look.seed + 1)
            share = np.where(coarse < 0.5, fine, coarse)
        case _:
            share = np.zeros(len(p), np.float32)
    share = share[:, None]
    mixed = np.where(share < 0.5, first + 2 * share * (second - first), second + (2 * share - 1) * (third - second))
    if look.roughness:
        mixed = mixed * (1 + look.roughness * (value_noise(place * 60, look.seed + 7)[:, None] - 0.5))
    return np.maximum(mixed, 0).astype(np.float32)


def _bricks(p: Floats, seed: int) -> Floats:
    """Joints are 0; every brick has a tone of its own."""
    across, up = p[:, 0] + p[:, 1], p[:, 2] * 2
    row = np.floor(up)
    shifted = across + 0.5 * (row % 2)
    joint = ((up - row) < 0.12) | ((shifted - np.floor(shifted)) < 0.06)
    tone = hashed(np.stack([np.floor(shifted), row, np.zeros_like(row)], 1).astype(np.int64), seed)
    return np.where(joint, 0, 0.4 + 0.6 * tone).astype(np.float32)


def any_look(draw: np.random.Generator, grey: float = 0.5) -> Look:
    """A random look; `grey` is the share of colourless ones."""
    hue = draw.uniform(0, 1, (3, 3)) ** draw.uniform(0.7, 2.0)
    if draw.random() < grey:
        hue = 0.85 * hue.mean(1, keepdims=True) + 0.15 * hue
    near = draw.uniform(0.2, 1)  # a pattern's colours are rarely all apart
    colors = hue[:1] + near * (hue - hue[:1])
    pattern = str(draw.choice(PATTERNS, p=[0.26, 0.14, 0.08, 0.08, 0.06, 0.12, 0.05, 0.09, 0.12]))
    return Look(
        pattern,
        colors.astype(np.float32),
        float(np.exp(draw.uniform(np.log(0.04), np.log(1.0)))),
        float(draw.choice([0.0, draw.uniform(0.05, 0.5)])),
        float(draw.choice([0.0, draw.uniform(0.05, 0.6)])),
        int(draw.integers(1 << 20)),
    )
