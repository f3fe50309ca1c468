"""3D Gaussians: an asset of many small ellipsoids with colour and opacity.

Coordinates are the pipeline's: the unit cube [-0.5, 0.5]^3, right-handed, z up.
Source: Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field Rendering".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import check_shapes
from gen3dexport.assets.harmonics import turned

Array = NDArray[np.float32]


SH_C0 = 0.28209479177387814
"""The constant spherical harmonic: rgb = 0.5 + SH_C0 * coefficient."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N Gaussians.

    Attributes:
        positions: [N, 3] centres.
        scales: [N, 3] standard deviations along the own axes, not negative.
        quaternions: [N, 4] rotations as (w, x, y, z), of any length but zero.
        opacities: [N] in [0, 1].
        sh: [N, K, 3] spherical harmonics coefficients of the colour; K = 1 is one colour from all sides.
    """

    kind: ClassVar[str] = "gaussians"

    positions: Array
    scales: Array
    quaternions: Array
    opacities: Array
    sh: Array

    def __post_init__(self) -> None:
        count = len(self.positions)
        shapes: dict[str, tuple[int, ...]] = {"positions": (3,), "scales": (3,), "quaternions": (4,), "opacities": ()}
        check_shapes(count, **{name: (getattr(self, name), rest) for name, rest in shapes.items()})
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

    def turned(self, frame: NDArray[np.float64]) -> Gaussians:
        """All of them after the rotation `frame` [3, 3] about the origin; quaternions are unit ones."""
        return Gaussians(
            (self.positions.astype(np.float64) @ frame.T).astype(np.float32),
            self.scales,
            quaternions_of(frame @ rotation_matrices(self.rotations)).astype(np.float32),
            self.opacities,
            turned(self.sh, frame),
        )

    def with_degree(self, degree: int) -> Gaussians:
        """The colours with harmonics up to that degree: zeros are added, or the higher ones left out."""
        count = (degree + 1) ** 2
        sh = np.zeros((len(self.sh), count, 3), np.float32)
        sh[:, : self.sh.shape[1]] = self.sh[:, :count]
        return replace(self, sh=sh)

    def scaled(self, factor: float) -> Gaussians:
        """Positions and sizes times `factor`, about the origin."""
        return Gaussians(
            (self.positions * factor).astype(np.float32),
            (self.scales * factor).astype(np.float32),
            self.quaternions,
            self.opacities,
            self.sh,
        )


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
