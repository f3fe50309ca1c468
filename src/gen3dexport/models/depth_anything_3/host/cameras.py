"""Cameras as the networks say them, and as matrices. No torch.

A pose is [t (3), q (4: x, y, z, w), fov_h, fov_w], of the camera in the world, angles in radians. Extrinsics are world
to camera; cameras look along z, x is right, y is down. Source: Lin et al. 2025, "Depth Anything 3".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

_LEAST = 1e-6  # tangent of half an angle
_NEAREST = 0.1  # what translations are divided by, at least


def matrices(pose: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Extrinsics [..., 3, 4] and intrinsics [..., 3, 3] (pixels) of poses [..., 9], for pictures of `size` (H, W)."""
    pose = pose.astype(np.float64)
    turned = rotation(pose[..., 3:7]).swapaxes(-1, -2)
    moved = -(turned @ pose[..., :3, None])
    height, width = size
    cameras = np.zeros((*pose.shape[:-1], 3, 3))
    for row, edge, angle in ((0, width, pose[..., 8]), (1, height, pose[..., 7])):
        cameras[..., row, row] = edge / 2 / np.maximum(np.tan(angle / 2), _LEAST)
        cameras[..., row, 2] = edge / 2
    cameras[..., 2, 2] = 1
    return np.concatenate([turned, moved], -1).astype(np.float32), cameras.astype(np.float32)


def rotation(q: Array) -> Array:
    """Rotations [..., 3, 3] of quaternions [..., 4] (x, y, z, w) of any length but 0."""
    x, y, z, w = np.moveaxis(q, -1, 0)
    s = 2 / np.maximum((q * q).sum(-1), np.finfo(np.float64).tiny)
    rows = (
        (1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)),
        (s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)),
        (s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def quaternion(turned: Array) -> Array:
    """Unit quaternions [..., 4] (x, y, z, w >= 0) of rotations [..., 3, 3], by the largest of their components."""
    m = turned.astype(np.float64)
    diagonal = (m[..., 0, 0], m[..., 1, 1], m[..., 2, 2])
    signs = ((1, -1, -1), (-1, 1, -1), (-1, -1, 1), (1, 1, 1))
    squares = np.stack([1 + sum(s * d for s, d in zip(row, diagonal, strict=True)) for row in signs], -1)
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    xw, yw, zw = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xx, yy, zz, ww = np.moveaxis(squares, -1, 0)
    # Four times a component, times all four of them: each row is the quaternion but for a factor.
    rows = ((xx, xy, xz, xw), (xy, yy, yz, yw), (xz, yz, zz, zw), (xw, yw, zw, ww))
    candidates = np.stack([np.stack(row, -1) for row in rows], -2)
    best = squares.argmax(-1)[..., None, None]
    found = np.take_along_axis(candidates, best, -2)[..., 0, :]
    found = found / np.linalg.norm(found, axis=-1, keepdims=True)
    upright: Array = np.where(found[..., 3:] < 0, -found, found)
    return upright


def poses(extrinsics: Array, intrinsics: Array, size: tuple[int, int]) -> NDArray[np.float32]:
    """Poses [..., 9] of extrinsics [..., 4, 4] and intrinsics [..., 3, 3], for pictures of `size` (H, W)."""
    inverse = np.linalg.inv(extrinsics.astype(np.float64))
    height, width = size
    angles = [2 * np.arctan(edge / 2 / intrinsics[..., k, k]) for edge, k in ((height, 1), (width, 0))]
    parts = [inverse[..., :3, 3], quaternion(inverse[..., :3, :3]), np.stack(angles, -1)]
    return np.concatenate(parts, -1).astype(np.float32)


def relative(extrinsics: Array) -> Array:
    """Extrinsics [S, 4, 4] from the first view on: its camera at the origin, and the median distance of the cameras
    from it as 1 (the lower of two middle ones), distances of less than a tenth not enlarged more than that."""
    found = extrinsics.astype(np.float64) @ np.linalg.inv(extrinsics[:1].astype(np.float64))
    distances = np.sort(np.linalg.norm(np.linalg.inv(found)[:, :3, 3], axis=-1))
    found[:, :3, 3] /= max(_NEAREST, float(distances[(len(distances) - 1) // 2]))
    return found
