"""The kind depth_map: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.flat_pictures import false_colours, tiff
from gen3dexport.assets.metrics import depth_delta1
from gen3dexport.assets.score import Scale, Score, distance, settled

KIND = "depth_map"
SCALES = (Scale("delta1"), distance("abs_rel"))


def arrays(depth_map: DepthMap) -> dict[str, NDArray[Any]]:
    """`depth`, `metric`, and `field_of_view` where it is known."""
    found = {"depth": depth_map.depth, "metric": np.asarray(depth_map.metric)}
    wide = depth_map.field_of_view
    return found if wide is None else found | {"field_of_view": np.asarray(wide, np.float64)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> DepthMap:
    """The depth map of its arrays."""
    wide = arrays.get("field_of_view")
    return DepthMap(arrays["depth"], arrays["metric"].item(), None if wide is None else wide.item())


FILES: Mapping[str, FileFormat] = {
    ".npz": npz(arrays),
    ".tiff": FileFormat(lambda depth_map, title: tiff(depth_map.depth)),
}


def problem(depth_map: DepthMap) -> str | None:
    """A depth that is NaN or not positive, or nothing seen."""
    wrong = int((~(depth_map.depth > 0)).sum())  # NaN is not above 0
    if wrong:
        return f"{wrong} of {depth_map.depth.size} depths are not positive numbers"
    return None if np.isfinite(depth_map.depth).any() else "nothing is seen in it"


def counts(depth_map: DepthMap) -> dict[str, int]:
    """Width, height, and pixels that see something."""
    height, width = depth_map.depth.shape
    return {"width": width, "height": height, "seen": int(np.isfinite(depth_map.depth).sum())}


def picture(depth_map: DepthMap) -> NDArray[np.uint8]:
    """Near is bright, far is dark, what sees nothing is white; by the logarithm of the depth."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return false_colours(-np.log(depth_map.depth.astype(np.float64)))


def scores(depth_map: DepthMap, reference: DepthMap) -> tuple[Score, ...]:
    """The share of pixels whose depths are within a factor of 1.25 (Eigen et al. 2014), a pixel that only one of the
    two sees counting as a miss; and the mean of |depth - reference| / reference where both see something.

    Raises:
        ValueError: when the pictures differ in size.
    """
    pair = [m.depth.astype(np.float64) for m in (depth_map, reference)]
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"depth maps differ in size: {list(pair[0].shape)} and {list(pair[1].shape)}")
    seen = [np.isfinite(d) for d in pair]
    known = settled(SCALES, [not s.any() for s in seen], [bool((d > 0).all()) for d in pair])
    if known is not None:
        return known
    both = seen[0] & seen[1]
    relative = np.abs(pair[0][both] - pair[1][both]) / pair[1][both]
    delta1, abs_rel = SCALES
    return delta1(depth_delta1([pair[0]], [pair[1]])), abs_rel(relative.mean() if both.any() else abs_rel.worst)
