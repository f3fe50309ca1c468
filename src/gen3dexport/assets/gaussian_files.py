"""Files of 3D Gaussians: .ply and .splat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.gaussians import Array, Gaussians, quaternions_of, rotation_matrices

# z-up (x, y, z) -> (x, -z, y), the frame that viewers of 3D Gaussian files expect.
VIEWER_FRAME = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)

PLY_PROPERTIES = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *("f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


def content(gaussians: Gaussians, ending: str) -> bytes:
    """The bytes of a binary 3D Gaussian `.ply`, or of a `.splat` (32 bytes a Gaussian), in the frame of viewers."""
    return splat_rows(gaussians) if ending == ".splat" else _ply(gaussians)


def _ply(gaussians: Gaussians) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(gaussians.positions)}"]
    lines += [*(f"property float {name}" for name in PLY_PROPERTIES), "end_header", ""]
    return "\n".join(lines).encode() + ply_rows(gaussians).astype("<f4").tobytes()


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
