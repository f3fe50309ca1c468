"""3D Gaussians of a .ply, as the published code lays it out, in Blender's frame and colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .bundle import Refused

FLAT = 0.28209479177387814
"""The harmonic of degree 0."""
_TYPES = {"float": "<f4", "float32": "<f4", "double": "<f8", "uchar": "u1", "uint8": "u1", "int": "<i4", "uint": "<u4"}
_NEEDED = [*"xyz", *(f"{name}_{k}" for name, n in (("f_dc", 3), ("scale", 3), ("rot", 4)) for k in range(n)), "opacity"]


@dataclass(frozen=True)
class Gaussians:
    """Arrays of float32, one row a Gaussian.

    Attributes:
        positions: [N, 3], z up.
        colors: [N, 3] in linear light.
        opacities: [N] in [0, 1].
        scales: [N, 3], standard deviations along the Gaussian's own axes.
        rotations: [N, 4], quaternions (w, x, y, z) of the own axes.
    """

    positions: NDArray[np.float32]
    colors: NDArray[np.float32]
    opacities: NDArray[np.float32]
    scales: NDArray[np.float32]
    rotations: NDArray[np.float32]

    @property
    def radii(self) -> NDArray[np.float32]:
        """[N], of a disc as large as the ellipsoid's largest section at one standard deviation: many are flat."""
        widths = np.sort(self.scales, axis=1)
        return np.sqrt(widths[:, 1] * widths[:, 2])


def read(path: Path) -> Gaussians:
    """The Gaussians of a binary .ply whose y points down.

    Raises:
        Refused: for another file.
    """
    rows = _rows(path)
    if missing := [name for name in _NEEDED if name not in (rows.dtype.names or ())]:
        raise Refused(f"{path.name}: no Gaussians: it lacks {', '.join(missing)}")

    def stacked(*names: str) -> NDArray[np.float64]:
        return np.stack([rows[name].astype(np.float64) for name in names], axis=-1)

    x, y, z = stacked("x", "y", "z").T
    quaternions = stacked(*(f"rot_{k}" for k in range(4)))
    quaternions /= np.maximum(np.linalg.norm(quaternions, axis=1, keepdims=True), 1e-12)
    arrays = (
        np.stack([x, z, -y], axis=-1),
        linear_light(np.clip(0.5 + FLAT * stacked("f_dc_0", "f_dc_1", "f_dc_2"), 0, 1)),
        1 / (1 + np.exp(-rows["opacity"].astype(np.float64))),
        np.exp(stacked("scale_0", "scale_1", "scale_2")),
        _turned(quaternions),
    )
    found = Gaussians(*(np.ascontiguousarray(array, np.float32) for array in arrays))
    if not all(np.isfinite(array).all() for array in vars(found).values()):
        raise Refused(f"{path.name}: has numbers that are not finite")
    return found


def linear_light(colors: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB in [0, 1] as linear light (IEC 61966-2-1)."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _turned(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions after a quarter turn about x that carries y down to z up: (x, y, z) -> (x, z, -y)."""
    w, x, y, z = q.T
    half = np.sqrt(0.5)  # the turn is (half, -half, 0, 0)
    return half * np.stack([w + x, x - w, y + z, z - y], axis=-1)


def _rows(path: Path) -> NDArray[np.void]:
    """The vertices of a binary little-endian .ply."""
    content = path.read_bytes()
    head, mark, body = content.partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    try:
        if lines[0] != ["ply"] or ["format", "binary_little_endian", "1.0"] not in lines or not mark:
            raise ValueError
        elements = [line for line in lines if line[:1] == ["element"]]
        if len(elements) != 1 or elements[0][1] != "vertex":
            raise ValueError
        kinds = np.dtype([(line[2], _TYPES[line[1]]) for line in lines if line[:1] == ["property"]])
        rows = np.frombuffer(body, kinds, count=int(elements[0][2]))
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise Refused(f"{path.name}: no binary .ply of Gaussians") from error
    return rows
