"""Marching along rays through a field that is asked at points, as many a call as its program takes. No torch.

Source: Mueller et al. 2022, "Instant Neural Graphics Primitives" (empty cells are passed over, a ray ends where no
light is left); Max 1995, "Optical models for direct volume rendering".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.instant_ngp_nerf.host.occupancy import looked_up

Floats = NDArray[np.float32]
Ask = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""Points and unit directions [N, 3] -> densities [N] and colours [N, 3]."""

_DARK = 1e-3  # what is left of a ray's light where it ends
_TOGETHER = 4096  # rays that march together
_PARTS = 8  # of a ray, between which rays that have ended are let go


@dataclass(frozen=True, eq=False)
class Seen:
    """What rays collect: colours [R, 3] in [0, 1], median depth [R], accumulation [R]; asked: points of the field."""

    colors: Floats
    depth: Floats
    accumulation: Floats
    asked: int


def edges(samples: int, near: float, far: float) -> Floats:
    """Distances [samples + 1] between which steps are taken: even ones of half the distance below 1, and of its
    reciprocal beyond."""
    first, last = (d / 2 if d < 1 else 1 - 1 / (2 * d) for d in (near, far))
    s = np.linspace(first, last, samples + 1)
    return np.where(s < 0.5, 2 * s, 1 / np.maximum(2 - 2 * s, 1e-12)).astype(np.float32)


def march(
    ask: Ask,
    origins: Floats,
    directions: Floats,
    t: Floats,
    background: str,
    occupied: NDArray[np.bool_] | None = None,
) -> Seen:
    """What rays collect.

    Args:
        origins, directions: [R, 3], unit directions.
        t: distances between steps, see `edges`.
        background: behind what is seen: `last_sample` (which is always asked), `black` or `white`.
        occupied: cells [G, G, G] that are not passed over; None for all.
    """
    parts = [
        _together(
            ask, origins[start : start + _TOGETHER], directions[start : start + _TOGETHER], t, background, occupied
        )
        for start in range(0, len(origins), _TOGETHER)
    ]
    colors, depth, accumulation = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("colors", "depth", "accumulation")
    )
    return Seen(colors, depth, accumulation, sum(part.asked for part in parts))


def _together(
    ask: Ask, origins: Floats, directions: Floats, t: Floats, background: str, occupied: NDArray[np.bool_] | None
) -> Seen:
    count, samples = len(origins), len(t) - 1
    middles: Floats = ((t[1:] + t[:-1]) / 2).astype(np.float32)
    colors, light = np.zeros((count, 3), np.float32), np.ones(count, np.float32)
    depth, asked = np.full(count, middles[-1], np.float32), 0
    half = np.zeros(count, bool)  # whether a ray has lost half of its light
    for steps in np.array_split(np.arange(samples), min(_PARTS, samples)):
        alive = np.flatnonzero(light > _DARK)
        points: Floats = origins[alive, None] + directions[alive, None] * middles[steps][:, None]
        wanted = np.ones(points.shape[:2], bool) if occupied is None else looked_up(occupied, points)
        rows, columns = np.nonzero(wanted)
        asked += len(rows)
        density = np.zeros(wanted.shape, np.float32)
        shades = np.zeros((*wanted.shape, 3), np.float32)
        if len(rows):
            density[rows, columns], shades[rows, columns] = ask(points[rows, columns], directions[alive[rows]])
        absorbed = density * (t[steps + 1] - t[steps])
        total = np.cumsum(absorbed, 1)
        before = light[alive, None] * np.exp(-(total - absorbed))
        weights = before * (1 - np.exp(-absorbed))
        colors[alive] += (weights[..., None] * shades).sum(1)
        passed = 1 - light[alive, None] + np.cumsum(weights, 1) >= 0.5
        now = passed.any(1) & ~half[alive]
        depth[alive[now]] = middles[steps][passed[now].argmax(1)]
        half[alive[now]] = True
        light[alive] *= np.exp(-total[:, -1])
    if background == "white":
        colors += light[:, None]
    elif background == "last_sample" and (rest := np.flatnonzero(light > _DARK)).size:
        last = origins[rest] + directions[rest] * middles[-1]
        colors[rest] += light[rest, None] * ask(last, directions[rest])[1]
        asked += len(rest)
    return Seen(np.clip(colors, 0, 1), depth, 1 - light, asked)
