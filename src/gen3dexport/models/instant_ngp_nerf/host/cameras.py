"""Cameras of a request, or on an orbit; and the rays of their pixels. No torch.

Cameras are OpenGL's: x right, y up, looking along -z; poses are camera to world, whose z is up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.instant_ngp_nerf.host.settings import Orbit, Settings

Floats = NDArray[np.float64]

_STRAIGHT = 1e-3  # how far axes of a pose may be from unit ones at right angles
_WIDEST = 8192  # columns of a picture
_SMALL, _FEW = 32, 2  # rows and number of the pictures that are golden data
_NAMES = ("poses", "fov", "times", "aspect")
_WANTED = (
    "poses [N, 4, 4] (camera to world), fov [N] (degrees from top to bottom), and where wanted times [N] (seconds) and "
    "aspect (width over height)"
)


@dataclass(frozen=True, eq=False)
class Path:
    """Cameras in order.

    Attributes:
        poses: [N, 4, 4]; fields: [N] degrees from top to bottom; times: [N] seconds.
        size: rows and columns of a picture.
    """

    poses: Floats
    fields: Floats
    times: Floats
    size: tuple[int, int]


def path_of(request: Request, settings: Settings) -> Path:
    """The cameras that a request names; without any, an orbit; for golden data, two of an orbit and small pictures.

    Raises:
        UsageError: for a request of something else than cameras, or with cameras that are none.
    """
    wanted = "this model makes pictures along a camera path"
    for name, value in (("image", request.image), ("features", request.features), ("video", request.video)):
        if value is not None:
            raise UsageError(f"{name}: {wanted}, and takes none; give the path with --input FILE.json, or nothing")
    if request.prompt and not request.stand_in:
        raise UsageError(f"prompt: {wanted}, and takes none; give the path with --input FILE.json, or nothing")
    orbit, rows = settings.orbit, settings.resolution
    if request.inputs is not None:
        return _given(request.inputs, orbit, rows)
    if request.stand_in:
        start = (37 * request.seed + 10 * sum(request.prompt.encode())) % 360
        azimuths, rows = start + np.arange(_FEW) * 360 / _FEW, min(rows, _SMALL)
    else:
        azimuths = np.arange(orbit.views) * 360 / orbit.views
    poses, count = np.stack([looking_in(a, orbit.elevation, orbit.radius) for a in azimuths]), len(azimuths)
    return Path(poses, np.full(count, orbit.field_of_view), np.arange(count) / orbit.rate, (rows, rows))


def _given(inputs: Mapping[str, Any], orbit: Orbit, rows: int) -> Path:
    """The cameras of arrays by name."""
    for name in inputs:
        if name not in _NAMES:
            raise UsageError(f"inputs: {name!r} is no input{did_you_mean(name, _NAMES)}")
    if "poses" not in inputs or "fov" not in inputs:
        raise UsageError(
            f"inputs: {'poses' if 'poses' not in inputs else 'fov'} is missing; a camera path has {_WANTED}"
        )
    poses = _numbers("poses", inputs["poses"])
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not len(poses):
        raise UsageError(f"inputs: poses have shape {list(poses.shape)}; need [N, 4, 4], one camera at least")
    _check_poses(poses)
    count = len(poses)
    fields = _numbers("fov", inputs["fov"], (count,))
    if ((fields <= 0) | (fields >= 180)).any():
        raise UsageError(f"inputs: fov of camera {_first((fields <= 0) | (fields >= 180))} is not between 0 and 180")
    times = _numbers("times", inputs.get("times", np.arange(count) / orbit.rate), (count,))
    if (np.diff(times) <= 0).any():
        raise UsageError(f"inputs: times do not rise at camera {_first(np.diff(times) <= 0) + 1}")
    aspect = float(_numbers("aspect", inputs.get("aspect", 1.0), ()))
    columns = round(rows * aspect) if aspect > 0 else 0
    if not 1 <= columns <= _WIDEST:
        raise UsageError(f"inputs: aspect {aspect:g} gives pictures of {columns} columns; there can be 1 to {_WIDEST}")
    return Path(poses, fields, times, (rows, columns))


def _numbers(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Floats:
    array = np.asarray(on_host(value))
    if array.dtype.kind not in "fiu":
        raise UsageError(f"inputs: {name} holds {array.dtype}, and needs numbers")
    if shape is not None and array.shape != shape:
        raise UsageError(f"inputs: {name} has shape {list(array.shape)}; needs {list(shape)}, as there are poses")
    if not np.isfinite(array).all():
        raise UsageError(f"inputs: {name} holds NaN or infinity")
    return array.astype(np.float64)


def _check_poses(poses: Floats) -> None:
    """Raises UsageError for a matrix that is no rotation with a place."""
    turn = poses[:, :3, :3]
    off = np.abs(turn.transpose(0, 2, 1) @ turn - np.eye(3)).max((1, 2)) > _STRAIGHT
    off |= np.linalg.det(turn) < 0
    off |= np.abs(poses[:, 3] - [0, 0, 0, 1]).max(1) > _STRAIGHT
    if off.any():
        raise UsageError(
            f"inputs: the pose of camera {_first(off)} is no rotation with a place (camera to world, row after row, "
            "the last row 0 0 0 1)"
        )


def _first(wrong: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(wrong)[0])


def looking_in(azimuth: float, elevation: float, radius: float) -> Floats:
    """The pose [4, 4] of a camera that looks at the origin; azimuth 0 is on +x, 90 on +y; angles in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    back = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(back, right), back, radius * back], 1)
    return pose


def rays(pose: Floats, field: float, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Origins and unit directions [H W, 3] of the rays of pixels' middles, row by row from the top."""
    height, width = size
    focal = 0.5 * height / math.tan(math.radians(field) / 2)
    rows, columns = np.indices(size) + 0.5
    seen = np.stack([(columns - width / 2) / focal, -(rows - height / 2) / focal, -np.ones(size)], -1).reshape(-1, 3)
    directions = seen @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.broadcast_to(pose[:3, 3], directions.shape).astype(np.float32), directions.astype(np.float32)
