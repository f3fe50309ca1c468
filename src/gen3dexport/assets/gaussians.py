"""3D Gaussians: an asset of many small ellipsoids with colour and opacity, and how alike two are.

Coordinates are the pipeline's: the unit cube [-0.5, 0.5]^3, right-handed, z up.
Source: Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field Rendering".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import check_shapes, not_finite
from gen3dexport.assets.file_format import FileFormat
from gen3dexport.assets.harmonics import turned
from gen3dexport.assets.score import PSNR, SSIM, Score, settled

KIND = "gaussians"
SCALES = (SSIM, PSNR)
VIEWS, PIXELS = 4, 160
"""Of the pictures that are compared."""

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


def _content(ending: str, gaussians: Gaussians, title: str) -> bytes:
    from gen3dexport.assets.gaussian_files import content

    return content(gaussians, ending)


def _usd(ending: str, gaussians: Gaussians, title: str) -> bytes:
    from gen3dexport.assets.usd import content

    return content(gaussians, ending)


FILES: Mapping[str, FileFormat] = {
    ".ply": FileFormat(partial(_content, ".ply"), up="-y"),
    ".splat": FileFormat(partial(_content, ".splat"), up="-y"),
    ".spz": FileFormat(partial(_content, ".spz"), up="y"),
    ".glb": FileFormat(partial(_content, ".glb"), up="y", usual=False),
    ".usda": FileFormat(partial(_usd, ".usda"), up="z", package="pxr", extra="usd"),
    ".usdc": FileFormat(partial(_usd, ".usdc"), up="z", package="pxr", extra="usd"),
    ".usd": FileFormat(partial(_usd, ".usd"), up="z", package="pxr", extra="usd"),
}


EDITS: Mapping[str, Callable[[Gaussians, Any], Gaussians]] = {
    "sh_degree": Gaussians.with_degree,
    "size": Gaussians.scaled,
}


def extent(gaussians: Gaussians) -> float:
    """The longest edge of the bounding box of the centres."""
    return float(np.ptp(gaussians.positions, axis=0).max())


def arrays(gaussians: Gaussians) -> dict[str, NDArray[Any]]:
    """The attributes by name."""
    return {field.name: getattr(gaussians, field.name) for field in fields(gaussians)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Gaussians:
    """The Gaussians of their arrays."""
    return Gaussians(**{field.name: arrays[field.name] for field in fields(Gaussians)})


def problem(gaussians: Gaussians) -> str | None:
    """None at all, or numbers that are not finite."""
    return not_finite(arrays(gaussians)) or (None if len(gaussians.positions) else "there are no Gaussians")


def counts(gaussians: Gaussians) -> dict[str, int]:
    """How many there are."""
    return {"gaussians": len(gaussians.positions)}


def picture(gaussians: Gaussians) -> NDArray[np.uint8]:
    """A contact sheet of eight views around the Gaussians."""
    from gen3dexport.assets.draw.gaussian_render import gaussian_turntable

    return gaussian_turntable(gaussians)


def scores(gaussians: Gaussians, reference: Gaussians) -> tuple[Score, ...]:
    """SSIM and PSNR of pictures of four views (see `metrics.picture_quality`)."""
    from gen3dexport.assets.draw.gaussian_render import render_gaussians
    from gen3dexport.assets.draw.render import around
    from gen3dexport.assets.metrics import picture_scores

    pair = (gaussians, reference)
    known = settled(SCALES, [not len(g.positions) for g in pair], [not_finite(arrays(g)) is None for g in pair])
    if known is not None:
        return known
    pictures, others = ([render_gaussians(g, azimuth, size=PIXELS) for azimuth in around(VIEWS)] for g in pair)
    return picture_scores(pictures, others)


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
