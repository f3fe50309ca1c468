"""Implicit primitives on the 32^3 occupancy grid of [-1, 1]^3; negative inside.  Axes are x, y, z; z is up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
Range = tuple[float, float]

RESOLUTION = 32
_CENTRES = (np.arange(RESOLUTION, dtype=np.float32) + 0.5) / RESOLUTION * 2 - 1
X, Y, Z = np.meshgrid(_CENTRES, _CENTRES, _CENTRES, indexing="ij")
_accents: list[Field] | None = None


@contextmanager
def evaluated_at(points: Field) -> Iterator[list[Field]]:
    """Fields made inside are evaluated at points [N, 3] instead of the grid; gives the list of marked accents."""
    global X, Y, Z, _accents
    kept, _accents = (X, Y, Z), []
    X, Y, Z = (np.ascontiguousarray(column) for column in points.T)
    try:
        yield _accents
    finally:
        (X, Y, Z), _accents = kept, None


def accent(field: Field, below: float | None = None) -> Field:
    """`field` itself, marked (only under the height `below`, if given) as a part that has the second color."""
    if _accents is not None:
        _accents.append(field if below is None else np.maximum(field, Z - np.float32(below)))
    return field


def empty() -> Field:
    """A field with nothing inside."""
    return np.full_like(X, 9.0)


def union(*fields: Field) -> Field:
    """Inside any of the fields."""
    out = fields[0]
    for field in fields[1:]:
        out = np.minimum(out, field)
    return out


def cut(field: Field, *holes: Field) -> Field:
    """Inside `field` and outside every hole."""
    for hole in holes:
        field = np.maximum(field, -hole)
    return field


def intersect(*fields: Field) -> Field:
    """Inside all of the fields."""
    out = fields[0]
    for field in fields[1:]:
        out = np.maximum(out, field)
    return out


def within(values: Field, bounds: Range) -> Field:
    """The slab bounds[0] < values < bounds[1]."""
    slab: Field = np.maximum(bounds[0] - values, values - bounds[1])
    return slab


def box(x: Range, y: Range, z: Range) -> Field:
    """An axis-aligned box given by its bounds."""
    return intersect(within(X, x), within(Y, y), within(Z, z))


def pillar(z: Range, bottom: float, top: float | None = None, centre: Range = (0.0, 0.0)) -> Field:
    """An upright cylinder, or a frustum when the radius `top` is given."""
    top = bottom if top is None else top
    along = np.clip((Z - z[0]) / max(z[1] - z[0], 1e-6), 0, 1)
    radius = bottom + (top - bottom) * along
    return np.maximum(np.hypot(X - centre[0], Y - centre[1]) - radius, within(Z, z))


def prism(z: Range, half: float, top: float | None = None) -> Field:
    """An upright square pillar, or a truncated pyramid when the half width `top` is given."""
    top = half if top is None else top
    along = np.clip((Z - z[0]) / max(z[1] - z[0], 1e-6), 0, 1)
    return np.maximum(np.maximum(np.abs(X), np.abs(Y)) - (half + (top - half) * along), within(Z, z))


def wheel(centre: tuple[float, float, float], radius: float, half_width: float) -> Field:
    """A cylinder whose axis is x."""
    disc = np.hypot(Y - centre[1], Z - centre[2]) - radius
    return np.maximum(disc, np.abs(X - centre[0]) - half_width)


def tube(x: float, y: Range, z: float, radius: float) -> Field:
    """A cylinder whose axis is y."""
    return np.maximum(np.hypot(X - x, Z - z) - radius, within(Y, y))


def ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Field:
    """An ellipsoid (not a true distance away from its surface)."""
    parts = [(axis - c) / r for axis, c, r in zip((X, Y, Z), centre, radii, strict=True)]
    return (np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2) - 1) * np.float32(min(radii))


def ring(centre: tuple[float, float, float], radius: float, thickness: float) -> Field:
    """A torus that stands in the yz plane."""
    around = np.hypot(Y - centre[1], Z - centre[2]) - radius
    return np.hypot(around, X - centre[0]) - thickness


def rod(start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> Field:
    """A capsule between two points."""
    a, b = np.array(start, np.float32), np.array(end, np.float32)
    axis = b - a
    relative = (X - a[0], Y - a[1], Z - a[2])
    along = (relative[0] * axis[0] + relative[1] * axis[1] + relative[2] * axis[2]) / np.float32(axis @ axis)
    along = np.clip(along, 0, 1)
    gap = [r - along * d for r, d in zip(relative, axis, strict=True)]
    capsule: Field = np.sqrt(gap[0] ** 2 + gap[1] ** 2 + gap[2] ** 2) - radius
    return capsule


def corners(x: float, y: float, z: Range, half: float) -> Field:
    """Four square legs centred at (+-x, +-y)."""
    return intersect(np.abs(np.abs(X) - x) - half, np.abs(np.abs(Y) - y) - half, within(Z, z))


def sides(x: float, y: Range, z: Range, half: float) -> Field:
    """Two boxes centred at x and -x."""
    return intersect(np.abs(np.abs(X) - x) - half, within(Y, y), within(Z, z))
