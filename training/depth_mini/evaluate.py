"""Score depth-mini: held-out scenes, and the photograph of scikit-image whose depth was measured (Middlebury).

    python -m training.depth_mini.evaluate           # prints the tables, writes weights/depth-mini/scores.json

What knows nothing of the picture is scored beside it: one depth everywhere, and a slope from the top to the bottom.
Every map is aligned to the truth by a factor and an addend: depth-mini's to inverse depth; the others to inverse depth
or to depth, whichever scores better.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import array_api_compat.numpy as xp
import numpy as np
import torch
from numpy.typing import NDArray

from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.models import Request, depth_mini
from gen3dexport.models.component import Component
from gen3dexport.models.xfeat.host.stereo import alignments, depth_of, disparity
from gen3dexport.observe import Eager
from training.depth_mini.scenes import view
from training.depth_mini.tokens import HELD_OUT, RELEASE

SCORES = RELEASE / "scores.json"
SCENES = 100
_FARTHEST = 80.0  # metres; what is beyond is the sky to the scores
Maps = Mapping[str, NDArray[np.float32]]


def trivial(shape: tuple[int, int]) -> Maps:
    """Maps that know nothing of the picture."""
    down = np.broadcast_to(np.linspace(0, 1, shape[0], dtype=np.float32)[:, None], shape)
    return {"constant": np.ones(shape, np.float32), "vertical gradient": down}


def scores(found: NDArray[np.float32], depth: NDArray[np.float64], both: bool) -> dict[str, float]:
    """AbsRel and delta1 of a map against depths, NaN where they are not known.

    Args:
        both: whether the map may be aligned to depth, too, and not to inverse depth alone.
    """
    known = np.isfinite(depth)
    near, true = found[known], depth[known]
    aligned = alignments(near, near, true)
    ways = ["disparity_scale_shift", *(["ls_scale_shift"] if both else [])]
    best = min((aligned[way] for way in ways), key=lambda one: float(one[0]))
    return {"abs_rel": float(best[0]), "delta1": float(best[1])}


def network() -> tuple[depth_mini.Settings, Component]:
    """The shipped network, with its settings."""
    settings = depth_mini.read_settings(RELEASE, depth_mini.Knobs(), False)
    (declared,) = depth_mini.components(settings)
    return settings, declared.load(RELEASE)


def nearness(settings: depth_mini.Settings, component: Component, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The network's map of a picture [H, W, 3], in its size."""
    state = depth_mini.begin(settings, Request(image=picture), RELEASE, xp)
    (declared,) = depth_mini.components(settings)
    made = depth_mini.make_assets(declared.advance(state, Eager(component), xp), settings)["depth_map"]
    assert isinstance(made, DepthMap) and made.inverse
    return made.depth


def of_scenes(settings: depth_mini.Settings, component: Component, count: int) -> dict[str, dict[str, float]]:
    """Means over held-out scenes."""
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(HELD_OUT, HELD_OUT + count):
        seen = view(seed)
        with np.errstate(divide="ignore"):
            depth = np.where(seen.nearness > 1 / _FARTHEST, 1 / seen.nearness.astype(np.float64), np.nan)
        maps = {"depth-mini": nearness(settings, component, seen.picture), **trivial(depth.shape)}
        for name, found in maps.items():
            rows.setdefault(name, []).append(scores(found, depth, name != "depth-mini"))
    return {name: {key: float(np.mean([r[key] for r in found])) for key in found[0]} for name, found in rows.items()}


def of_photograph(settings: depth_mini.Settings, component: Component) -> dict[str, dict[str, float]]:
    """The left picture of the stereo pair."""
    from skimage import data

    depth = depth_of(disparity())
    maps = {"depth-mini": nearness(settings, component, data.stereo_motorcycle()[0]), **trivial(depth.shape)}
    return {name: scores(found, depth, name != "depth-mini") for name, found in maps.items()}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Rows of Markdown."""
    lines = ["| map | AbsRel | δ1 |", "|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| {name} | {row['abs_rel']:.3f} | {row['delta1']:.3f} |" for name, row in found.items())]
    )


def main() -> None:
    """Score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=SCENES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings, component = network()
    found = {"held_out": of_scenes(settings, component, given.scenes), "middlebury": of_photograph(settings, component)}
    for name, rows in found.items():
        print(f"{name}\n{table(rows)}\n")
    Path(SCORES).write_text(json.dumps({"scenes": given.scenes, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
