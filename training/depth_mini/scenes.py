"""Rooms and places outdoors, drawn by a seed: a picture, and the inverse depth of every pixel.

    python -m training.depth_mini.scenes SHEET.png      # a sheet of the first scenes

A scene is its seed: nothing else is stored of it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.depth_mini.furniture import INDOORS, OUTDOORS, Draw, moved, part, small, turn
from training.depth_mini.looks import any_look, fractal
from training.depth_mini.tracing import FAR, Floats, Light, Part, shaded, trace

EDGE = 224
_FEWEST_NEAR = 0.05  # pictures with less between their nearest and farthest inverse depth show a wall


@dataclass(frozen=True)
class View:
    """What a camera sees: a picture uint8 [E, E, 3], and 1 / metres along its axis [E, E], 0 in the sky."""

    picture: NDArray[np.uint8]
    nearness: Floats


def view(seed: int, edge: int = EDGE) -> View:
    """The scene of a seed. Scenes that show next to nothing but one plane are drawn again."""
    for attempt in range(8):
        draw = np.random.default_rng([seed, attempt])
        found = _seen(draw, edge)
        low, high = np.quantile(found.nearness, (0.02, 0.98))
        if high - low > _FEWEST_NEAR and high < 2.5:
            break
    return found


def _seen(draw: Draw, edge: int) -> View:
    indoors = draw.random() < 0.7
    parts, lights, ambient, height = _room(draw) if indoors else _outdoors(draw)
    half = math.tan(math.radians(draw.uniform(30, 78)) / 2)
    stretch = math.exp(draw.uniform(-0.15, 0.5))  # of the picture's shape, which is squeezed into the square
    x = (2 * (np.arange(edge) + 0.5) / edge - 1) * half
    flat = np.stack(np.broadcast_arrays(x[None], 1.0, -x[:, None] / stretch), -1).reshape(-1, 3)
    pitch = draw.normal(-0.12, 0.14)
    direction = (flat @ (turn(0, pitch) @ turn(1, draw.normal(0, 0.03))).T).astype(np.float32)
    origin = np.broadcast_to(np.array([0, 0, height], np.float32), direction.shape)
    ends, which = trace(parts, origin, direction)
    colors = shaded(parts, lights, ambient, origin, direction, ends, which)
    sky = which < 0
    if sky.any():
        colors[sky] = _sky(draw, direction[sky])
    picture = _photographed(draw, colors.reshape(edge, edge, 3))
    nearness = np.where(ends < FAR, 1 / np.maximum(ends, 1e-3), 0).reshape(edge, edge)
    return View(picture, nearness.astype(np.float32))


def _placed(draw: Draw, things: tuple[object, ...], count: int, near: float, far: float, wide: float) -> list[Part]:
    """Things in front of the camera, turned about z, some larger or smaller than they are."""
    made: list[Part] = []
    for _ in range(count):
        thing = things[int(draw.integers(len(things)))]
        y = math.exp(draw.uniform(math.log(near), math.log(far)))
        where = (draw.uniform(-wide, wide) * y, y, 0)
        matrix = turn(2, draw.uniform(0, 2 * math.pi)) * np.float32(math.exp(draw.normal(0, 0.2)))
        made += moved(thing(draw), matrix, where)  # type: ignore[operator]
    return made


def _room(draw: Draw) -> tuple[list[Part], list[Light], Floats, float]:
    """A room around the camera, things in it and on its walls."""
    height = draw.uniform(0.7, 1.8)
    left, right, back, top = draw.uniform(1, 4), draw.uniform(1, 4), draw.uniform(2, 8), height + draw.uniform(0.7, 2.2)
    shell = part(
        "cube",
        ((left + right) / 2, (back + 1.5) / 2, top / 2),
        ((right - left) / 2, (back - 1.5) / 2, top / 2),
        any_look(draw),
    )
    wall = any_look(draw, 0.6)
    looks = (wall, wall if draw.random() < 0.6 else any_look(draw, 0.6), any_look(draw, 0.4), any_look(draw, 0.9))
    parts = [Part(shell.kind, shell.matrix, shell.center, looks)]
    parts += _placed(draw, INDOORS, int(draw.integers(2, 9)), 1.2, max(back - 0.5, 1.5), 0.7)
    for _ in range(int(draw.integers(6))):  # what hangs on the back wall or one at the side
        w, h, z = draw.uniform(0.1, 0.7), draw.uniform(0.1, 0.6), draw.uniform(0.6, top - 0.2)
        flat = part("cube", (w, draw.uniform(0.01, 0.06), h), (0, 0, 0), any_look(draw))
        if draw.random() < 0.6:
            parts += moved([flat], np.eye(3, dtype=np.float32), (draw.uniform(-left, right), back - 0.04, z))
        else:
            x = right - 0.04 if draw.random() < 0.5 else 0.04 - left
            parts += moved([flat], turn(2, math.pi / 2), (x, draw.uniform(0.5, back), z))
    if draw.random() < 0.4:  # a near edge, as of a desk
        parts += _placed(draw, (small, small, *INDOORS[:2]), int(draw.integers(1, 4)), 0.7, 1.5, 0.5)
    place = draw.uniform((-left, -1, 0.7 * top), (right, back, 0.97 * top)).astype(np.float32)
    other = draw.uniform((-left, -1, 0.3), (right, back, top)).astype(np.float32)
    lights = [Light(place, _warm(draw, 0.3, 1.0), True), Light(other, _warm(draw, 0.0, 0.4), False)]
    return parts, lights, _warm(draw, 0.15, 0.6), height


def _outdoors(draw: Draw) -> tuple[list[Part], list[Light], Floats, float]:
    """Ground without an end, the sun, and things up to 40 m away."""
    parts = [part("cube", (400, 400, 1), (0, 0, -1), any_look(draw))]
    if draw.random() < 0.5:  # a street
        parts += moved([part("cube", (draw.uniform(1, 4), 200, 0.01), (0, 0, 0), any_look(draw, 0.8))],
                       turn(2, draw.normal(0, 0.6)), (draw.uniform(-3, 3), 0, 0))  # fmt: skip
    parts += _placed(draw, OUTDOORS, int(draw.integers(3, 14)), 3, 40, 0.8)
    parts += _placed(draw, (*OUTDOORS[3:7], small), int(draw.integers(0, 4)), 1.5, 5, 0.6)
    sun = draw.normal(0, 1, 3).astype(np.float32)
    sun[2] = abs(sun[2]) + 0.4
    lights = [Light(1000 * sun, _warm(draw, 0.3, 1.0), draw.random() < 0.8)]
    return parts, lights, _warm(draw, 0.25, 0.7), draw.uniform(0.8, 3.0)


def _warm(draw: Draw, low: float, high: float) -> Floats:
    """A light's colour: white, or a little yellow or blue."""
    tint = draw.normal(0, 0.08)
    return (draw.uniform(low, high) * np.array([1 + tint, 1, 1 - tint])).astype(np.float32)


def _sky(draw: Draw, direction: Floats) -> Floats:
    """A gradient, often with clouds."""
    up = direction[:, 2:] / np.linalg.norm(direction, axis=1, keepdims=True)
    low, high = draw.uniform(0.6, 1.0, 3), draw.uniform((0.1, 0.25, 0.5), (0.6, 0.7, 1.0))
    made = low + np.clip(2 * up, 0, 1) * (high - low)
    if draw.random() < 0.6:
        seen = direction / np.maximum(np.abs(direction[:, 2:]), 0.08)
        share = np.clip(3 * fractal(seen.astype(np.float32), int(draw.integers(1 << 20)), 4) - 1.3, 0, 1)[:, None]
        made = made + share * (draw.uniform(0.6, 1.0) - made)
    return made.astype(np.float32)


def _photographed(draw: Draw, colors: Floats) -> NDArray[np.uint8]:
    """Exposure, vignette, gamma, blur and noise of a camera."""
    edge = len(colors)
    middle = np.median(colors.mean(-1))
    values = colors * (draw.uniform(0.12, 0.4) / max(float(middle), 0.02))
    x = np.linspace(-1, 1, edge)
    values = values * (1 - draw.uniform(0, 0.25) * (x[:, None] ** 2 + x**2))[..., None]
    shown = np.clip(values, 0, 1) ** (1 / 2.2)
    if draw.random() < 0.5:
        share = draw.uniform(0.1, 0.5)
        for axis in (0, 1):
            shown = (1 - share) * shown + share / 2 * (np.roll(shown, 1, axis) + np.roll(shown, -1, axis))
    shown = shown + draw.normal(0, draw.uniform(0, 0.03), shown.shape)
    return np.asarray(np.clip(np.rint(255 * shown), 0, 255), np.uint8)


def main() -> None:
    """Write a sheet: pictures, and below each its nearness."""
    views = [view(seed, 160) for seed in range(24)]
    rows = []
    for i in range(0, 24, 8):
        rows.append(np.hstack([v.picture for v in views[i : i + 8]]))
        shown = [255 * v.nearness / max(float(v.nearness.max()), 1e-6) for v in views[i : i + 8]]
        rows.append(np.repeat(np.hstack(shown)[..., None], 3, -1).astype(np.uint8))
    Image.fromarray(np.vstack(rows)).quantize(128).save(sys.argv[1])


if __name__ == "__main__":
    main()
