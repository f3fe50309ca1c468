"""Real spherical harmonics as 3D Gaussians use them, and how coefficients turn with their frame.

Signs and constants are those of Kerbl et al. 2023 (with the Condon-Shortley phase), which KHR_gaussian_splatting lists.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def degree_of(count: int) -> int:
    """The degree of `count` coefficients: 0 for 1, 1 for 4, 2 for 9, 3 for 16.

    Raises:
        ValueError: for another count.
    """
    degree = math.isqrt(count) - 1
    if (degree + 1) ** 2 != count or not 0 <= degree <= 3:
        raise ValueError(f"{count} harmonics; there are 1, 4, 9 or 16")
    return degree


def basis(directions: Floats, degree: int) -> Floats:
    """Values [N, (degree + 1)^2] at unit vectors [N, 3], by degree and then by order from -degree to degree."""
    x, y, z = directions.T
    found = [np.full(len(directions), 0.28209479177387814)]
    if degree >= 1:
        found += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        found += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * z * z - x * x - y * y),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]
    if degree >= 3:
        found += [
            -0.5900435899266435 * y * (3 * x * x - y * y),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
            0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
            1.445305721320277 * z * (x * x - y * y),
            -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]
    return np.stack(found, -1)


def turned(sh: NDArray[np.float32], frame: Floats) -> NDArray[np.float32]:
    """Coefficients [N, K, 3] after the rotation `frame` [3, 3], so that every colour is seen from the turned side.

    Each degree turns within itself; its matrix is solved for from values at more directions than it has coefficients.
    """
    degree = degree_of(sh.shape[1])
    if degree == 0:
        return sh
    directions = np.random.default_rng(0).standard_normal((64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    before, after = basis(directions @ frame, degree), basis(directions, degree)
    result = sh.copy()
    for k in range(1, degree + 1):
        own = slice(k * k, (k + 1) ** 2)
        matrix = np.linalg.lstsq(after[:, own], before[:, own], rcond=None)[0]
        result[:, own] = np.einsum("kj,njc->nkc", matrix, sh[:, own].astype(np.float64)).astype(np.float32)
    return result
