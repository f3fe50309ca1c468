"""The kind depth_map: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets import exr
from gen3dexport.assets.depth_geometry import places
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.flat_pictures import WHITE, false_colours, grey16, tiff
from gen3dexport.assets.metrics import depth_delta1
from gen3dexport.assets.score import Scale, Score, distance, settled

KIND = "depth_map"
SCALES = (Scale("delta1"), distance("abs_rel"))

_FARTHEST = 100.0
"""Of inverse maps: times the reference's nearest depth at which the compared depths end."""
_MILLIMETRES, _KITTI = 1000.0, 256.0  # steps in a metre of 16-bit files; the latter reaches 255 m


def arrays(depth_map: DepthMap) -> dict[str, NDArray[Any]]:
    """`depth`, `metric`; `inverse` where it is so, `field_of_view` and `normals` where they are known."""
    found: dict[str, NDArray[Any]] = {"depth": depth_map.depth, "metric": np.asarray(depth_map.metric)}
    found |= {"inverse": np.asarray(True)} if depth_map.inverse else {}
    found |= {} if depth_map.normals is None else {"normals": depth_map.normals}
    wide = depth_map.field_of_view
    return found if wide is None else found | {"field_of_view": np.asarray(wide, np.float64)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> DepthMap:
    """The depth map of its arrays."""
    wide, inverse = arrays.get("field_of_view"), arrays.get("inverse")
    return DepthMap(
        arrays["depth"],
        arrays["metric"].item(),
        None if wide is None else wide.item(),
        False if inverse is None else inverse.item(),
        arrays.get("normals"),
    )


def _quantity(depth_map: DepthMap) -> str:
    return "inverse depth, relative" if depth_map.inverse else "depth in metres" if depth_map.metric else "depth"


def _exr(depth_map: DepthMap, title: str) -> bytes:
    """Channel `Z`, where known also `N.X`, `N.Y`, `N.Z` (normals) and `P.X`, `P.Y`, `P.Z` (places), all float32.

    Axes of these are a camera's of compositing programs: x right, y up, z toward the camera. The header says what the
    depths are.
    """
    said: dict[str, Any] = {"quantity": _quantity(depth_map)}
    found = {"Z": depth_map.depth}
    if depth_map.normals is not None:
        found |= _vectors("N", depth_map.normals)
    if depth_map.field_of_view is not None:
        said["fieldOfView"] = float(depth_map.field_of_view)
        if not depth_map.inverse:
            found |= _vectors("P", places(depth_map))
    return exr.content(found, said)


def _vectors(name: str, values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Vectors with y down and z away as channels with y up and z toward the camera."""
    signs = {"X": 1, "Y": -1, "Z": -1}
    return {f"{name}.{axis}": sign * values[..., k] for k, (axis, sign) in enumerate(signs.items())}


def steps(depth_map: DepthMap) -> tuple[NDArray[np.uint16], dict[str, str]]:
    """A depth map in 16 bits, and the text entries of its file that say how.

    Metres are in thousandths, or in 256ths where they reach beyond 65 m; other maps run from `low` (1) to `high`
    (65535). 0 is where nothing is seen.
    """
    values, seen = depth_map.depth.astype(np.float64), np.isfinite(depth_map.depth)
    said = {"quantity": _quantity(depth_map)}
    high, low = (float(f(values[seen])) if seen.any() else 0.0 for f in (np.max, np.min))
    if depth_map.metric:
        per_metre = _MILLIMETRES if high * _MILLIMETRES <= WHITE else _KITTI
        scaled, said = values * per_metre, said | {"steps_per_metre": f"{per_metre:g}"}
    else:
        scaled = 1 + (values - low) / ((high - low) or 1.0) * (WHITE - 1)
        said |= {"low": f"{low:.9g}", "high": f"{high:.9g}"}
    return np.clip(np.rint(np.where(seen, scaled, 0)), 0, WHITE).astype(np.uint16), said


FILES: Mapping[str, FileFormat] = {
    ".exr": FileFormat(_exr, package=exr.PACKAGE, extra=exr.EXTRA),
    ".npz": npz(arrays),
    ".png": FileFormat(lambda depth_map, title: grey16(*steps(depth_map))),
    ".tiff": FileFormat(lambda depth_map, title: tiff(depth_map.depth)),
}


def problem(depth_map: DepthMap) -> str | None:
    """A depth that is NaN or not positive (of an inverse map: not a finite number from 0), or nothing seen."""
    values, inverse = depth_map.depth, depth_map.inverse
    right = np.isfinite(values) & (values >= 0) if inverse else values > 0  # NaN is neither
    if not right.all():
        wanted = "finite numbers from 0" if inverse else "positive numbers"
        return f"{int((~right).sum())} of {values.size} depths are not {wanted}"
    return None if (values.any() if inverse else np.isfinite(values).any()) else "nothing is seen in it"


def counts(depth_map: DepthMap) -> dict[str, int]:
    """Width, height, and pixels that see something."""
    height, width = depth_map.depth.shape
    return {"width": width, "height": height, "seen": int(np.isfinite(depth_map.depth).sum())}


def picture(depth_map: DepthMap) -> NDArray[np.uint8]:
    """Near is bright, far is dark, what sees nothing is white; by the logarithm of a depth, or by an inverse one."""
    values = depth_map.depth.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return false_colours(values if depth_map.inverse else -np.log(values))


def scores(depth_map: DepthMap, reference: DepthMap) -> tuple[Score, ...]:
    """The share of pixels whose depths are within a factor of 1.25 (Eigen et al. 2014), a pixel that only one of the
    two sees counting as a miss; and the mean of |depth - reference| / reference where both see something.

    An inverse map is first brought on the reference by a factor and an addend, as only these are unknown (least
    squares; Ranftl et al. 2020, "Towards Robust Monocular Depth Estimation"), and both are turned into depths.

    Raises:
        ValueError: when the pictures differ in size, or only one is of inverse depths.
    """
    pair = [m.depth.astype(np.float64) for m in (depth_map, reference)]
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"depth maps differ in size: {list(pair[0].shape)} and {list(pair[1].shape)}")
    if depth_map.inverse != reference.inverse:
        raise ValueError("one of the maps is of inverse depths, the other is not")
    if reference.inverse:
        numbers = [bool(np.isfinite(d).all() and (d >= 0).all()) for d in pair]
        known = settled(SCALES, [not d.any() for d in pair], numbers)
        if known is not None:
            return known
        pair = _as_depths(*pair)
    seen = [np.isfinite(d) for d in pair]
    known = settled(SCALES, [not s.any() for s in seen], [bool((d > 0).all()) for d in pair])
    if known is not None:
        return known
    both = seen[0] & seen[1]
    relative = np.abs(pair[0][both] - pair[1][both]) / pair[1][both]
    delta1, abs_rel = SCALES
    return delta1(depth_delta1([pair[0]], [pair[1]])), abs_rel(relative.mean() if both.any() else abs_rel.worst)


def _as_depths(values: NDArray[np.float64], reference: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Inverse depths brought on the reference's, both as depths that end at `_FARTHEST`."""
    spread = values - values.mean()
    # A map that goes against the reference is not turned over: it has no more in common with it than a constant.
    factor = max(0.0, float((spread * (reference - reference.mean())).sum() / ((spread**2).sum() or 1.0)))
    least = float(reference.max()) / _FARTHEST
    fitted = reference.mean() + factor * spread
    return [1 / np.maximum(one, least) for one in (fitted, reference)]
