"""3D Gaussians: an asset of many small ellipsoids with colour and opacity, and the rows of its files.

Coordinates are the pipeline's: the unit cube [-0.5, 0.5]^3, right-handed, z up.
Source: Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field Rendering".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.disk import write_atomically

Array = NDArray[np.float32]

SH_C0 = 0.28209479177387814
"""The constant spherical harmonic: rgb = 0.5 + SH_C0 * coefficient."""

# z-up (x, y, z) -> (x, -z, y), the frame that viewers of 3D Gaussian files expect.
VIEWER_FRAME = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)

PLY_PROPERTIES = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *("f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N Gaussians.

    Attributes:
        positions: [N, 3] centres.
        scales: [N, 3] standard deviations along the own axes, positive.
        quaternions: [N, 4] rotations as (w, x, y, z), of any length but zero.
        opacities: [N] in (0, 1).
        sh: [N, K, 3] spherical harmonics coefficients of the colour; K = 1 is one colour from all sides.
    """

    positions: Array
    scales: Array
    quaternions: Array
    opacities: Array
    sh: Array

    def __post_init__(self) -> None:
        count = len(self.positions)
        shapes = {"positions": (3,), "scales": (3,), "quaternions": (4,), "opacities": ()}
        for name, rest in shapes.items():
            if getattr(self, name).shape != (count, *rest):
                raise ValueError(f"{name} have shape {getattr(self, name).shape}; need {(count, *rest)}")
        if self.sh.ndim != 3 or self.sh.shape[::2] != (count, 3):
            raise ValueError(f"sh have shape {self.sh.shape}; need ({count}, K, 3)")

    @property
    def rotations(self) -> Array:
        """[N, 4] unit quaternions (w, x, y, z)."""
        length = np.linalg.norm(self.quaternions, axis=1, keepdims=True)
        result: Array = self.quaternions / np.maximum(length, np.float32(1e-12))
        return result

    @property
    def colors(self) -> Array:
        """[N, 3] rgb of the constant harmonic; it may leave [0, 1]."""
        result: Array = (0.5 + SH_C0 * self.sh[:, 0]).astype(np.float32)
        return result

    @property
    def covariances(self) -> Array:
        """[N, 6]: xx, xy, xz, yy, yz, zz of R S S^T R^T."""
        axes = rotation_matrices(self.rotations.astype(np.float64)) * self.scales[:, None].astype(np.float64)
        full = axes @ axes.transpose(0, 2, 1)
        result: Array = full[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]].astype(np.float32)
        return result

    def scaled(self, factor: float) -> Gaussians:
        """Positions and sizes times `factor`, about the origin."""
        return Gaussians(
            (self.positions * factor).astype(np.float32),
            (self.scales * factor).astype(np.float32),
            self.quaternions,
            self.opacities,
            self.sh,
        )


def to_arrays(gaussians: Gaussians) -> dict[str, Array]:
    """The attributes by name, `gaussians.` before each."""
    return {f"gaussians.{field.name}": getattr(gaussians, field.name) for field in fields(gaussians)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Gaussians | None:
    """What `to_arrays` made, or None where `arrays` have no Gaussians."""
    names = [field.name for field in fields(Gaussians)]
    if f"gaussians.{names[0]}" not in arrays:
        return None
    return Gaussians(**{name: arrays[f"gaussians.{name}"] for name in names})


def rotation_matrices(quaternions: NDArray[np.floating]) -> NDArray[np.float64]:
    """[N, 3, 3] of unit quaternions (w, x, y, z)."""
    w, x, y, z = np.asarray(quaternions, np.float64).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def quaternions_of(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions (w, x, y, z) of rotations [N, 3, 3]; the component of largest magnitude is positive.

    Each row of 4 q q^T is the quaternion times one of its components; the row of the largest one is taken.
    """
    m = matrices
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    wx, wy, wz = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    outer = np.stack(
        [
            np.stack([1 + xx + yy + zz, wx, wy, wz], -1),
            np.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
            np.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
            np.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
        ],
        1,
    )
    largest = np.argmax(np.diagonal(outer, axis1=1, axis2=2), axis=1)
    rows = outer[np.arange(len(outer)), largest]
    result: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


def write_ply(gaussians: Gaussians, path: Path) -> None:
    """Write a binary 3D Gaussian `.ply` in the frame of viewers. The file appears whole or not at all.

    Raises:
        UsageError: for a place that cannot be written.
    """
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(gaussians.positions)}"]
    lines += [*(f"property float {name}" for name in PLY_PROPERTIES), "end_header", ""]
    write_atomically(path, "\n".join(lines).encode() + ply_rows(gaussians).astype("<f4").tobytes())


def write_splat(gaussians: Gaussians, path: Path) -> None:
    """Write a `.splat` in the frame of viewers: 32 bytes a Gaussian. The file appears whole or not at all.

    Raises:
        UsageError: for a place that cannot be written.
    """
    write_atomically(path, splat_rows(gaussians))


def splat_rows(gaussians: Gaussians, frame: NDArray[np.float64] | None = VIEWER_FRAME) -> bytes:
    """The rows of a `.splat`, most opaque volume first: position and scales as float32, then bytes: colour and opacity
    of 255, and the quaternion (w, x, y, z) as 128 + 128 q.

    Args:
        frame: rotation [3, 3] from the pipeline's frame into the file's; None leaves it.
    """
    rows = ply_rows(gaussians, frame)
    scales = np.exp(rows[:, 10:13])
    opacities = gaussians.opacities[:, None]
    turns = rows[:, 13:17] / np.maximum(np.linalg.norm(rows[:, 13:17], axis=1, keepdims=True), np.float32(1e-12))
    row = np.zeros(len(rows), [("placed", "<f4", 6), ("color", "u1", 4), ("turned", "u1", 4)])
    row["placed"] = np.concatenate([rows[:, :3], scales], axis=1)
    row["color"] = _bytes(255 * np.concatenate([gaussians.colors, opacities], axis=1))
    row["turned"] = _bytes(128 + 128 * turns)
    order = np.argsort(-(scales.prod(1) * gaussians.opacities), kind="stable")
    return row[order].tobytes()


def _bytes(values: Array) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def ply_rows(gaussians: Gaussians, frame: NDArray[np.float64] | None = VIEWER_FRAME) -> Array:
    """The vertices [N, 17] of a 3D Gaussian `.ply` (`PLY_PROPERTIES`): log scales, logits of opacity, degree-0 colour.

    Args:
        gaussians: in the pipeline's frame.
        frame: rotation [3, 3] from it into the file's; None leaves positions and quaternions as they are.
    """
    positions, quaternions = gaussians.positions, gaussians.quaternions
    if frame is not None:
        positions = (positions.astype(np.float64) @ frame.T).astype(np.float32)
        turned = frame @ rotation_matrices(gaussians.rotations)
        quaternions = quaternions_of(turned).astype(np.float32)
    opacities = gaussians.opacities.astype(np.float64)
    logits = np.log(opacities) - np.log1p(-opacities)
    columns = [
        positions,
        np.zeros_like(positions),
        gaussians.sh[:, 0],
        logits[:, None],
        np.log(gaussians.scales.astype(np.float64)),
        quaternions,
    ]
    return np.concatenate([np.asarray(column, np.float32) for column in columns], axis=1)
