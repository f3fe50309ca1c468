"""Files of 3D Gaussians: .ply, .splat, .spz, and .glb with KHR_gaussian_splatting.

A .glb and an .spz are y up, in the frame of a mesh's .glb; a .ply and a .splat are y down, as viewers of the published
code's files take them. All are right-handed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.colour import linear_light
from gen3dexport.assets.gaussians import Array, Gaussians
from gen3dexport.assets.glb import TO_Y_UP, glb
from gen3dexport.assets.harmonics import degree_of
from gen3dexport.assets.spz import spz

# z-up (x, y, z) -> (x, -z, y), the frame that viewers of 3D Gaussian files expect.
VIEWER_FRAME = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)

PLY_PROPERTIES = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *("f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
_BEFORE_REST = 9  # properties before those of higher harmonics
_LEAST_LOG = 20.0  # logits and log scales stay within, so that 0 and 1 are finite numbers
_EXTENSION = "KHR_gaussian_splatting"


def content(gaussians: Gaussians, ending: str) -> bytes:
    """The bytes of a binary `.ply`, of a `.splat` (32 bytes a Gaussian), an `.spz`, or a `.glb`."""
    match ending:
        case ".splat":
            return splat_rows(gaussians)
        case ".glb":
            return _glb(gaussians.turned(TO_Y_UP))
        case ".spz":
            return spz(gaussians.turned(TO_Y_UP))
        case _:
            return _ply(gaussians)


def _ply(gaussians: Gaussians) -> bytes:
    rest = 3 * (gaussians.sh.shape[1] - 1)
    names = [*PLY_PROPERTIES[:_BEFORE_REST], *(f"f_rest_{k}" for k in range(rest)), *PLY_PROPERTIES[_BEFORE_REST:]]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(gaussians.positions)}"]
    lines += [*(f"property float {name}" for name in names), "end_header", ""]
    rows = ply_rows(gaussians)
    if rest:  # channel by channel, as the published code keeps them
        higher = gaussians.turned(VIEWER_FRAME).sh[:, 1:].transpose(0, 2, 1).reshape(len(rows), rest)
        rows = np.concatenate([rows[:, :_BEFORE_REST], higher, rows[:, _BEFORE_REST:]], axis=1)
    return "\n".join(lines).encode() + rows.astype("<f4").tobytes()


def _glb(gaussians: Gaussians) -> bytes:
    """Source: Khronos, "KHR_gaussian_splatting": scales and opacities as they are, quaternions (x, y, z, w)."""
    display = np.clip(gaussians.colors, 0, 1)  # for readers that draw points
    attributes: dict[str, NDArray[Any]] = {
        "POSITION": gaussians.positions,
        "COLOR_0": np.concatenate([linear_light(display), gaussians.opacities[:, None]], axis=1).astype(np.float32),
        f"{_EXTENSION}:ROTATION": gaussians.rotations[:, [1, 2, 3, 0]],
        f"{_EXTENSION}:SCALE": gaussians.scales,
        f"{_EXTENSION}:OPACITY": gaussians.opacities,
    }
    for degree in range(degree_of(gaussians.sh.shape[1]) + 1):
        for n in range(2 * degree + 1):
            attributes[f"{_EXTENSION}:SH_DEGREE_{degree}_COEF_{n}"] = gaussians.sh[:, degree**2 + n]
    meaning = {_EXTENSION: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}}
    plain = {name: np.ascontiguousarray(values, np.float32) for name, values in attributes.items()}
    return glb(plain, None, {"mode": 0, "extensions": meaning}, {"extensionsUsed": [_EXTENSION]})


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

    Logits and log scales are finite: clipped at 20 either way, which is an opacity or a scale of 2e-9.

    Args:
        gaussians: in the pipeline's frame.
        frame: rotation [3, 3] from it into the file's; None leaves positions and quaternions as they are.
    """
    turned = gaussians if frame is None else gaussians.turned(frame)
    opacities, scales = gaussians.opacities.astype(np.float64), gaussians.scales.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits, logs = np.log(opacities) - np.log1p(-opacities), np.log(scales)
    columns = [
        turned.positions,
        np.zeros_like(turned.positions),
        gaussians.sh[:, 0],
        np.clip(logits, -_LEAST_LOG, _LEAST_LOG)[:, None],
        np.maximum(logs, -_LEAST_LOG),
        turned.quaternions,
    ]
    return np.concatenate([np.asarray(column, np.float32) for column in columns], axis=1)
