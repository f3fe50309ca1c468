"""Rays through convex parts: spheres, cubes and cylinders under affine maps, and what light does where they end.

A ray is origin + t * direction. A camera's directions have length 1 along its axis, so t is the depth along that axis.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.depth_mini.looks import Look, painted

Floats = NDArray[np.float32]
Kind = Literal["sphere", "cube", "cylinder"]
_NEAR = 1e-3  # hits before it are of the surface that a ray starts on
FAR = np.float32(1e9)


@dataclass(frozen=True)
class Part:
    """A unit sphere, a cube from -1 to 1, or a cylinder of radius 1 with z from -1 to 1, under an affine map.

    Attributes:
        matrix: [3, 3], center: [3]: a point p of the unit shape lies at matrix p + center.
        looks: one, or four: of the sides along x, of those along y, of the floor and of the ceiling of a room.
    """

    kind: Kind
    matrix: Floats
    center: Floats
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Light:
    """A point that shines: its place [3], colour [3], and whether it casts shadows."""

    place: Floats
    color: Floats
    shadows: bool


def spans(kind: Kind, origin: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """Where rays [N, 3] enter and leave a unit shape, [N] each; the first is larger where they miss."""
    if kind == "cube":
        return _slab(origin, direction)
    axes = 3 if kind == "sphere" else 2
    o, d = origin[:, :axes], direction[:, :axes]
    a = np.maximum(dot(d, d), 1e-12)
    b, c = dot(o, d), dot(o, o) - 1
    root = b * b - a * c
    step = np.sqrt(np.maximum(root, 0))
    first = np.where(root > 0, (-b - step) / a, FAR)
    last = np.where(root > 0, (-b + step) / a, -FAR)
    if kind == "cylinder":
        low, high = _slab(origin[:, 2:], direction[:, 2:])
        first, last = np.maximum(first, low), np.minimum(last, high)
    return first, last


def dot(a: Floats, b: Floats) -> Floats:
    """Products [N] of vectors [N, C]; NumPy's own sums over short rows take several times as long."""
    return np.einsum("ij,ij->i", a, b)  # type: ignore[no-any-return]


def _length(a: Floats) -> Floats:
    return np.sqrt(dot(a, a))[:, None]


def _slab(origin: Floats, direction: Floats) -> tuple[Floats, Floats]:
    inverse = 1 / np.where(np.abs(direction) < 1e-9, np.float32(1e-9), direction)
    one, other = (-1 - origin) * inverse, (1 - origin) * inverse
    low, high = np.minimum(one, other).T, np.maximum(one, other).T
    return functools.reduce(np.maximum, low), functools.reduce(np.minimum, high)


class _Rays:
    """Rays [N, 3] with what every part's bounding sphere is compared with, computed once."""

    def __init__(self, origin: Floats, direction: Floats) -> None:
        self.origin, self.direction = origin, direction
        self.length = np.maximum(dot(direction, direction), 1e-12)
        self.along, self.square = dot(origin, direction), dot(origin, origin)

    def near(self, part: Part) -> NDArray[np.int64]:
        """Those that may meet a part: |to - t d|^2 at the nearest t that is not behind the start is in its radius."""
        radius = np.sqrt((part.matrix**2).sum()) if part.kind == "cube" else np.linalg.norm(part.matrix, 2) * 1.4143
        along = np.maximum(self.direction @ part.center - self.along, 0)
        square = self.square - 2 * (self.origin @ part.center) + part.center @ part.center
        return np.flatnonzero(square - along * along / self.length <= radius**2)


def _hits(part: Part, origin: Floats, direction: Floats) -> Floats:
    """Where rays first meet the surface of a part after they start, [N]; FAR where never."""
    inverse = np.linalg.inv(part.matrix).astype(np.float32)
    first, last = spans(part.kind, (origin - part.center) @ inverse.T, direction @ inverse.T)
    met = np.where(first > _NEAR, first, last)
    return np.where((first <= last) & (met > _NEAR), met, FAR).astype(np.float32)


def trace(parts: Sequence[Part], origin: Floats, direction: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Where rays [N, 3] end, [N], and on which part; FAR and -1 where they leave the scene."""
    nearest, which = np.full(len(direction), FAR, np.float32), np.full(len(direction), -1)
    every = _Rays(origin, direction)
    for index, part in enumerate(parts):
        rays = every.near(part)
        met = _hits(part, origin[rays], direction[rays])
        closer = met < nearest[rays]
        nearest[rays[closer]], which[rays[closer]] = met[closer], index
    return nearest, which


def _normals(part: Part, place: Floats) -> Floats:
    """Unit normals, outward, at places [N, 3] on a part's surface."""
    inverse = np.linalg.inv(part.matrix).astype(np.float32)
    p = (place - part.center) @ inverse.T
    if part.kind == "sphere":
        local = p
    elif part.kind == "cube":
        axis = np.abs(p).argmax(1)
        local = np.zeros_like(p)
        np.put_along_axis(local, axis[:, None], np.sign(np.take_along_axis(p, axis[:, None], 1)), 1)
    else:
        flat = np.abs(p[:, 2]) > np.hypot(p[:, 0], p[:, 1])
        local = np.where(flat[:, None], p * [0, 0, 1], p * [1, 1, 0]).astype(np.float32)
    world = local @ inverse
    return world / np.maximum(_length(world), 1e-9)


def _look_of(part: Part, normal: Floats) -> NDArray[np.int64]:
    """Which of a part's looks its places have."""
    if len(part.looks) == 1:
        return np.zeros(len(normal), np.int64)
    axis = np.abs(normal).argmax(1)
    return np.where(axis == 2, np.where(normal[:, 2] < 0, 2, 3), axis)  # outward: down is the floor


def shaded(
    parts: Sequence[Part],
    lights: Sequence[Light],
    ambient: Floats,
    origin: Floats,
    direction: Floats,
    ends: Floats,
    which: NDArray[np.int64],
) -> Floats:
    """Linear colours [N, 3] of rays that end on parts; 0 where they do not. `ambient` [3] comes from above."""
    colors = np.zeros((len(direction), 3), np.float32)
    normals, base, shine = np.zeros_like(colors), np.zeros_like(colors), np.zeros((len(direction), 1), np.float32)
    places = origin + np.where(ends < FAR, ends, 0)[:, None] * direction
    for index, part in enumerate(parts):
        rays = np.flatnonzero(which == index)
        if len(rays) == 0:
            continue
        normal = _normals(part, places[rays])
        local = (places[rays] - part.center) @ (part.matrix / np.linalg.norm(part.matrix, axis=0))
        look = _look_of(part, normal)
        for number, one in enumerate(part.looks):
            here = look == number
            base[rays[here]] = painted(one, local[here])
            shine[rays[here]] = one.shine
        facing = dot(normal, direction[rays])[:, None]
        normals[rays] = np.where(facing > 0, -normal, normal)
    seen = np.flatnonzero(which >= 0)
    n, p, view = normals[seen], places[seen], -direction[seen]
    view = view / _length(view)
    lit = ambient * (0.75 + 0.25 * n[:, 2:])
    gloss = np.zeros_like(lit)
    for light in lights:
        to = light.place - p
        distance = _length(to)
        to = to / distance
        falling = np.maximum(dot(n, to)[:, None], 0)
        if light.shadows:
            rays = np.flatnonzero(falling[:, 0] > 0)
            start = p[rays] + 2e-3 * n[rays]
            ends_at, _ = trace([part for part in parts if len(part.looks) == 1], start, to[rays])
            falling[rays[ends_at < distance[rays, 0]]] = 0
        half = to + view
        half = half / np.maximum(_length(half), 1e-9)
        lit = lit + falling * light.color
        gloss += (falling > 0) * np.maximum(dot(n, half)[:, None], 0) ** 40 * light.color
    colors[seen] = base[seen] * lit + shine[seen] * gloss
    return colors
