"""A camera path as a JSON file, in the form that nerfstudio's viewer writes. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.documents.json_file import read_json
from gen3dexport.errors import UsageError

_WHAT = "a camera path"
_SHAPES = ((16,), (4, 4), (3, 4))


def read_camera_path(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name: `poses` [N, 4, 4] camera to world (x right, y up, looking along -z), `fov` [N] degrees from top
    to bottom, `times` [N] seconds where the file has a length or a rate, `aspect`, width over height, where it has.

    The file has `camera_path`, a list of {camera_to_world, fov[, aspect]}, where a matrix has 16 numbers row after row
    (or is nested, of 4 or 3 rows); and may have `fps`, `seconds`, `render_width` and `render_height`.

    Raises:
        UsageError: when the file is missing or damaged, or is no such path.
    """
    if not path.exists():
        raise UsageError(f"{path}: not found; give the file of {_WHAT}")
    data = read_json(path, _WHAT)
    cameras = data.get("camera_path")
    if not isinstance(cameras, list) or not cameras:
        raise UsageError(
            f"{path}: not {_WHAT}: camera_path is missing or empty; it is a list of cameras, each with camera_to_world "
            "and fov, as nerfstudio's viewer writes it"
        )
    if (kind := data.get("camera_type", "perspective")) != "perspective":
        raise UsageError(f"{path}: camera_type: {kind!r}; pictures are made with perspective cameras alone")
    poses, fields = [], []
    for k, camera in enumerate(cameras):
        where = f"{path}: camera_path[{k}]"
        if not isinstance(camera, Mapping):
            raise UsageError(f"{where}: not a camera; needs an object with camera_to_world and fov")
        poses.append(_matrix(camera, where))
        fields.append(_number(camera, "fov", where))
    found: dict[str, NDArray[Any]] = {"poses": np.stack(poses), "fov": np.array(fields)}
    if (times := _times(data, len(cameras), str(path))) is not None:
        found["times"] = times
    if "render_width" in data or "render_height" in data:
        width, height = (_above(data, name, str(path)) for name in ("render_width", "render_height"))
        found["aspect"] = np.array(width / height)
    elif "aspect" in cameras[0]:
        found["aspect"] = np.array(_above(cameras[0], "aspect", f"{path}: camera_path[0]"))
    return found


def _matrix(camera: Mapping[str, Any], where: str) -> NDArray[np.float64]:
    given = camera.get("camera_to_world")
    try:
        matrix = np.array(given, np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if given is None or matrix.shape not in _SHAPES:
        raise UsageError(f"{where}: camera_to_world: needs 16 numbers, a matrix row after row")
    if matrix.shape == (3, 4):
        return np.concatenate([matrix, [[0, 0, 0, 1]]])
    return matrix.reshape(4, 4)


def _number(data: Mapping[str, Any], name: str, where: str) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{where}: {name}: needs a number, and is {value!r}")
    return float(value)


def _above(data: Mapping[str, Any], name: str, where: str) -> float:
    value = _number(data, name, where)
    if not 0 < value < np.inf:
        raise UsageError(f"{where}: {name}: needs a number above 0, and is {value:g}")
    return value


def _times(data: Mapping[str, Any], count: int, where: str) -> NDArray[np.float64] | None:
    """Seconds of cameras that are evenly apart: over the path's length, or at its rate."""
    if "seconds" in data:
        return np.arange(count, dtype=np.float64) * (_above(data, "seconds", where) / count)
    if "fps" in data:
        return np.arange(count, dtype=np.float64) * (1 / _above(data, "fps", where))
    return None
