"""Things of simple parts, on the ground at the origin with z up, in metres."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from training.depth_mini.looks import Look, any_look
from training.depth_mini.tracing import Floats, Kind, Part

Draw = np.random.Generator
Thing = Callable[[Draw], list[Part]]


def turn(axis: int, angle: float) -> Floats:
    """A rotation matrix about one axis."""
    c, s = math.cos(angle), math.sin(angle)
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    made = np.eye(3, dtype=np.float32)
    made[i, i] = made[j, j] = c
    made[i, j], made[j, i] = -s, s
    return made


def part(kind: Kind, halves: Sequence[float], center: Sequence[float], look: Look) -> Part:
    """A part along the axes, `halves` from its middle to its sides."""
    return Part(kind, np.diag(np.array(halves, np.float32)), np.array(center, np.float32), (look,))


def rod(start: Sequence[float], end: Sequence[float], radius: float, look: Look) -> Part:
    """A cylinder between two places."""
    a, b = np.array(start, np.float32), np.array(end, np.float32)
    along = (b - a) / 2
    length = float(np.linalg.norm(along))
    z = along / max(length, 1e-6)
    side = np.cross(z, [1, 0, 0] if abs(z[0]) < 0.9 else [0, 1, 0])
    side /= np.linalg.norm(side)
    matrix = np.stack([radius * side, radius * np.cross(z, side), along], 1).astype(np.float32)
    return Part("cylinder", matrix, (a + b) / 2, (look,))


def moved(parts: Sequence[Part], matrix: Floats, by: Sequence[float]) -> list[Part]:
    """Parts under a further map."""
    shift = np.array(by, np.float32)
    return [Part(p.kind, matrix @ p.matrix, matrix @ p.center + shift, p.looks) for p in parts]


def table(draw: Draw) -> list[Part]:
    w, d, h, t = draw.uniform(0.3, 0.9), draw.uniform(0.25, 0.5), draw.uniform(0.4, 0.85), draw.uniform(0.015, 0.04)
    top, legs = any_look(draw), any_look(draw)
    made = [part("cube", (w, d, t), (0, 0, h - t), top)]
    for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        place = (x * (w - 0.05), y * (d - 0.05), h / 2 - t)
        made.append(part("cylinder" if legs.seed % 2 else "cube", (0.03, 0.03, h / 2 - t), place, legs))
    for _ in range(int(draw.integers(4))):
        low = small(draw)
        made += moved(low, np.eye(3, dtype=np.float32), (draw.uniform(-w, w) * 0.8, draw.uniform(-d, d) * 0.8, h))
    return made


def chair(draw: Draw) -> list[Part]:
    w, h, back = draw.uniform(0.2, 0.28), draw.uniform(0.38, 0.5), draw.uniform(0.3, 0.6)
    look, legs = any_look(draw), any_look(draw)
    made = [part("cube", (w, w, 0.03), (0, 0, h), look), part("cube", (w, 0.02, back / 2), (0, w, h + back / 2), look)]
    return made + [rod((x * w * 0.9, y * w * 0.9, 0), (x * w * 0.9, y * w * 0.9, h), 0.02, legs)
                   for x in (-1, 1) for y in (-1, 1)]  # fmt: skip


def shelf(draw: Draw) -> list[Part]:
    w, d, h, n = draw.uniform(0.3, 0.7), draw.uniform(0.12, 0.25), draw.uniform(0.8, 2.0), int(draw.integers(2, 6))
    look = any_look(draw)
    made = [part("cube", (0.015, d, h / 2), (s * w, 0, h / 2), look) for s in (-1, 1)]
    if draw.random() < 0.5:
        made.append(part("cube", (w, 0.01, h / 2), (0, d, h / 2), any_look(draw)))
    for level in range(n):
        z = h * (level + 0.05) / n
        made.append(part("cube", (w, d, 0.012), (0, 0, z), look))
        for _ in range(int(draw.integers(4))):
            made += moved(small(draw), np.eye(3, dtype=np.float32) * 0.7, (draw.uniform(-0.8, 0.8) * w, 0, z + 0.012))
    return made


def small(draw: Draw) -> list[Part]:
    """A box, ball, can or egg of a hand's size."""
    s = draw.uniform(0.04, 0.15, 3)
    kind: Kind = ("cube", "sphere", "cylinder")[int(draw.integers(3))]
    if kind != "cube":
        s[1] = s[0]
    return moved([part(kind, s, (0, 0, s[2]), any_look(draw))], turn(2, draw.uniform(0, 6.3)), (0, 0, 0))


def boxes(draw: Draw) -> list[Part]:
    """A pile."""
    made, z = [], 0.0
    for _ in range(int(draw.integers(1, 5))):
        s = draw.uniform(0.1, 0.4, 3) * (1 - 0.3 * min(z, 1))
        made += moved([part("cube", s, (0, 0, 0), any_look(draw))], turn(2, draw.uniform(0, 6.3)),
                      (*draw.uniform(-0.08, 0.08, 2), z + s[2]))  # fmt: skip
        z += 2 * float(s[2])
    return made


def lamp(draw: Draw) -> list[Part]:
    h, metal = draw.uniform(0.4, 1.8), any_look(draw)
    shade: Kind = "sphere" if draw.random() < 0.4 else "cylinder"
    r = draw.uniform(0.1, 0.3)
    pole = rod((0, 0, 0), (0, 0, h), draw.uniform(0.01, 0.04), metal)
    foot = part("cylinder", (r, r, 0.015), (0, 0, 0.015), metal)
    return [pole, foot, part(shade, (r, r, draw.uniform(0.1, 0.25)), (0, 0, h), any_look(draw, 0.7))]


def plant(draw: Draw) -> list[Part]:
    r, h, green = draw.uniform(0.1, 0.25), draw.uniform(0.15, 0.4), any_look(draw)
    made = [part("cylinder", (r, r, h / 2), (0, 0, h / 2), any_look(draw))]
    for _ in range(int(draw.integers(4, 12))):
        out = draw.uniform(-1, 1, 2) * r * 2
        tip = (*out, h + draw.uniform(0.2, 0.8))
        made.append(rod((0, 0, h), tip, 0.01, green))
        made += moved([part("sphere", (0.15, 0.05, 0.02), (0, 0, 0), green)], turn(2, draw.uniform(0, 6.3)), tip)
    return made


def sofa(draw: Draw) -> list[Part]:
    w, d, look = draw.uniform(0.4, 1.1), draw.uniform(0.35, 0.5), any_look(draw)
    made = [part("cube", (w, d, 0.2), (0, 0, 0.22), look), part("cube", (w, 0.12, 0.4), (0, d, 0.42), look)]
    made += [part("cube", (0.1, d, 0.3), (s * w, 0, 0.32), look) for s in (-1, 1)]
    return [*made, part("sphere", (0.25, 0.12, 0.2), (draw.uniform(-0.6, 0.6) * w, d - 0.25, 0.55), any_look(draw))]


def machine(draw: Draw) -> list[Part]:
    """Two wheels with a frame of rods and lumps between them."""
    reach, r = draw.uniform(0.5, 0.8), draw.uniform(0.25, 0.36)
    dark, metal = any_look(draw, 0.9), any_look(draw, 0.6)
    made = []
    for x in (-reach, reach):
        wheel = [part("cylinder", (r, r, draw.uniform(0.02, 0.08)), (0, 0, 0), dark)]
        made += moved(
            [*wheel, part("cylinder", (0.7 * r, 0.7 * r, 0.1), (0, 0, 0), metal)], turn(0, math.pi / 2), (x, 0, r)
        )
    for _ in range(int(draw.integers(8, 20))):
        a, b = (
            draw.uniform((-reach, -0.2, r), (reach, 0.2, 1.05)),
            draw.uniform((-reach, -0.2, 0.15), (reach, 0.2, 1.05)),
        )
        made.append(rod(a, b, draw.uniform(0.008, 0.05), metal if draw.random() < 0.5 else any_look(draw)))
    for _ in range(int(draw.integers(2, 7))):
        kind: Kind = ("cube", "sphere", "cylinder")[int(draw.integers(3))]
        lump = part(kind, draw.uniform(0.06, 0.28, 3), (0, 0, 0), any_look(draw))
        made += moved([lump], turn(1, draw.uniform(-1, 1)), draw.uniform((-0.5, -0.1, 0.3), (0.5, 0.1, 1.0)))
    return made


def figure(draw: Draw) -> list[Part]:
    """Somebody who stands."""
    h, skin, coat, legs = draw.uniform(1.2, 1.9), any_look(draw), any_look(draw), any_look(draw)
    made = [
        part("sphere", (0.09, 0.1, 0.125), (0, 0, h - 0.12), skin),
        part("sphere", (0.22, 0.14, 0.33), (0, 0, 0.67 * h), coat),
    ]
    for s in (-1, 1):
        made.append(rod((s * 0.1, 0, 0.5 * h), (s * 0.12, draw.uniform(-0.2, 0.2), 0), 0.075, legs))
        made.append(
            rod((s * 0.2, 0, 0.78 * h), (s * draw.uniform(0.2, 0.5), draw.uniform(-0.4, 0.2), 0.5 * h), 0.05, coat)
        )
    return made


def car(draw: Draw) -> list[Part]:
    half, w, look = draw.uniform(1.6, 2.3), draw.uniform(0.75, 0.95), any_look(draw)
    made = [part("cube", (half, w, 0.3), (0, 0, 0.55), look)]
    made.append(part("cube", (half * 0.55, w * 0.9, 0.3), (-0.1 * half, 0, 1.1), any_look(draw)))
    wheel = [part("cylinder", (0.32, 0.32, 0.12), (0, 0, 0), any_look(draw, 0.9))]
    for x in (-1, 1):
        for y in (-1, 1):
            made += moved(wheel, turn(0, math.pi / 2), (x * 0.6 * half, y * w, 0.32))
    return made


def tree(draw: Draw) -> list[Part]:
    h, r, green = draw.uniform(1.5, 5), draw.uniform(0.6, 1.8), any_look(draw)
    made = [rod((0, 0, 0), (0, 0, h), draw.uniform(0.08, 0.3), any_look(draw))]
    for _ in range(int(draw.integers(2, 7))):
        s = r * draw.uniform(0.4, 1, 3)
        made.append(part("sphere", s, (*draw.uniform(-0.6, 0.6, 2) * r, h + draw.uniform(-0.3, 0.8) * r), green))
    return made


def house(draw: Draw) -> list[Part]:
    s = draw.uniform((2, 2, 1.2), (7, 7, 6))
    walls = part("cube", s, (0, 0, s[2]), any_look(draw))
    return [walls, part("cube", (s[0] * 1.1, s[1] * 1.1, 0.15), (0, 0, 2 * s[2]), any_look(draw))]


def fence(draw: Draw) -> list[Part]:
    n, gap, h, look = int(draw.integers(5, 14)), draw.uniform(0.15, 0.5), draw.uniform(0.6, 1.6), any_look(draw)
    posts = [part("cube", (0.03, 0.03, h / 2), ((i - n / 2) * gap, 0, h / 2), look) for i in range(n)]
    return [*posts, part("cube", (n * gap / 2, 0.02, 0.04), (0, 0, h * 0.8), look)]


INDOORS: tuple[Thing, ...] = (table, chair, shelf, boxes, lamp, plant, sofa, machine, figure, small)
OUTDOORS: tuple[Thing, ...] = (car, tree, house, fence, figure, boxes, machine, tree, house, plant)
