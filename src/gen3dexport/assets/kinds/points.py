"""The kind points: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets import usd
from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.colour import linear_light
from gen3dexport.assets.draw.gaussian_render import gaussian_turntable
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.gaussians import SH_C0, Gaussians
from gen3dexport.assets.glb import TO_Y_UP, glb
from gen3dexport.assets.metrics import chamfer, f_score, nearest_points
from gen3dexport.assets.points import Points
from gen3dexport.assets.score import CUBE_EDGES, Scale, Score, distance, settled

KIND = "points"
SCALES = (Scale("f_score"), distance("chamfer", CUBE_EDGES))


CELL = 1 / 64
"""What counts as near for the F-score is 1.5 of these."""
SAMPLES = 20_000
"""Points of each cloud that are compared at most."""
_POINTS = 0  # glTF's mode of a primitive
_LOOKED_AT = 1000  # points whose neighbours are looked for


EDITS: Mapping[str, Callable[[Points, Any], Points]] = {"size": Points.scaled}


def extent(points: Points) -> float:
    """The longest edge of the bounding box."""
    return float(np.ptp(points.positions, axis=0).max())


def arrays(points: Points) -> dict[str, NDArray[Any]]:
    """`positions`; `colors` and `unit` where the points have them."""
    found: dict[str, NDArray[Any]] = {"positions": points.positions}
    found |= {} if points.colors is None else {"colors": points.colors}
    return found if points.unit is None else found | {"unit": np.asarray(points.unit, np.float64)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Points:
    """The points of their arrays."""
    unit = None if "unit" not in arrays else arrays["unit"].item()
    return Points(arrays["positions"], arrays.get("colors"), unit)


def _ply(points: Points, title: str) -> bytes:
    names = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    names += [] if points.colors is None else [("red", "u1"), ("green", "u1"), ("blue", "u1")]
    row = np.zeros(len(points.positions), names)
    for (name, _), column in zip(names[:3], points.positions.T, strict=True):
        row[name] = column
    for (name, _), column in zip(names[3:], () if points.colors is None else points.colors.T, strict=True):
        row[name] = column
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(row)}"]
    lines += [*(f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in names), "end_header", ""]
    return "\n".join(lines).encode() + row.tobytes()


def _glb(points: Points, title: str) -> bytes:
    attributes = {"POSITION": (points.positions @ TO_Y_UP.T).astype(np.float32)}
    if points.colors is not None:  # linear light, by the specification
        attributes["COLOR_0"] = linear_light(points.colors / 255).astype(np.float32)
    return glb(attributes, None, {"mode": _POINTS}, {})


FILES: Mapping[str, FileFormat] = {
    ".glb": FileFormat(_glb, up="y", usual=False),
    ".ply": FileFormat(_ply, up="z"),
    ".npz": npz(arrays, up="z"),
    **usd.FILES,
}


def problem(points: Points) -> str | None:
    """None at all, or numbers that are not finite."""
    return not_finite(arrays(points)) or (None if len(points.positions) else "there are no points")


def counts(points: Points) -> dict[str, int]:
    """How many there are."""
    return {"points": len(points.positions)}


def picture(points: Points) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the points, each drawn as a ball of their distance; a cloud of another size
    or elsewhere is brought into the unit cube."""
    count = len(points.positions)
    low, high = points.positions.min(0), points.positions.max(0)
    positions = (points.positions - (low + high) / 2) / (float((high - low).max()) or 1.0)
    colors = np.full((count, 3), 0.4) if points.colors is None else points.colors / 255
    balls = Gaussians(
        positions.astype(np.float32),
        np.full((count, 3), _spacing(positions), np.float32),
        np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        np.full(count, 0.95, np.float32),
        ((colors - 0.5) / SH_C0)[:, None].astype(np.float32),
    )
    return gaussian_turntable(balls)


def _spacing(positions: NDArray[np.floating]) -> float:
    """Half the usual distance between neighbours, a quarter of a cell at most."""
    from scipy.spatial import cKDTree

    if len(positions) < 2:
        return CELL / 4
    some = positions[:: max(1, len(positions) // _LOOKED_AT)]
    distances, _ = cKDTree(positions).query(some, k=2)
    return float(np.clip(np.median(distances[:, 1]) / 2, CELL / 32, CELL / 4))


def scores(points: Points, reference: Points) -> tuple[Score, ...]:
    """The F-score at 1.5 cells of 1/64, and Chamfer distance in edges of the unit cube (see `metrics`)."""
    pair = (points, reference)
    known = settled(SCALES, [not len(p.positions) for p in pair], [not_finite(arrays(p)) is None for p in pair])
    if known is not None:
        return known
    distances, _ = nearest_points(*(_some(p.positions) for p in pair))
    of_near, of_distance = SCALES
    return of_near(f_score(distances, 1.5 * CELL)), of_distance(chamfer(distances))


def _some(positions: NDArray[np.float32]) -> NDArray[np.float64]:
    """So many of the points at most, the same ones every time."""
    if len(positions) > SAMPLES:
        positions = positions[np.random.default_rng(0).choice(len(positions), SAMPLES, replace=False)]
    return positions.astype(np.float64)
