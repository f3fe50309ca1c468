"""docs/depth.png: photographs, depth-mini's maps of them on three targets, and a cloud of points turned.

    python benchmarks/depth_picture.py

A row a photograph of scikit-image: itself; inverse depth by the float32 eager network; by the `.pte` in int8, smoothed,
as the recipe builds it; by the ONNX file likewise. Bright is near. Last row: the first photograph's points from four
sides, with a field of view of 55 degrees.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from gen3dexport.assets import kinds
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.models import Request, depth_mini
from gen3dexport.observe import Eager
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.runtime.pipeline import to_numpy
from gen3dexport.validation.one_component import through

PICTURE = Path(__file__).parents[1] / "docs" / "depth.png"
HEIGHT, CELL = 200, 300
VIEWS = (0, 1, 7, 6)
"""Of the eight around the points: from the front and from the sides that the photograph saw."""
Pixels = NDArray[np.uint8]


def photographs() -> dict[str, Pixels]:
    """By name, the stereo pair's left one first."""
    return {"motorcycle": data.stereo_motorcycle()[0], "coffee": data.coffee(), "chelsea": data.chelsea()}


def program(target: str, settings: depth_mini.Settings, example: Any, scratch: Path) -> Any:
    """The network on a target, as the recipe builds it."""
    chosen = read_target(target)
    plan = make_plan(read_recipe("depth-mini", chosen), chosen)
    (declared,) = depth_mini.components(settings)
    component = declared.load(plan.weights)
    if target == "eager":
        return Eager(component)
    component = component.with_inputs({"image": torch.from_numpy(example)})
    folder = scratch / target
    folder.mkdir()
    _, made = through(component, chosen, plan.schemes["depth"], folder, smoothing=plan.smoothing["depth"])
    return lambda inputs: to_numpy(made({name: made.xp.asarray(value) for name, value in inputs.items()}))


def sized(picture: Pixels, width: int = CELL) -> Pixels:
    """A picture of one cell."""
    return np.asarray(Image.fromarray(picture).resize((width, HEIGHT)))


def main() -> None:
    """Lower, run, draw and write."""
    target = read_target("eager")
    plan = make_plan(read_recipe("depth-mini", target, ["knobs.field_of_view=55", "knobs.grid=160"]), target)
    settings = plan.settings
    begun = {n: plan.family.begin(settings, Request(image=p), plan.weights, xp) for n, p in photographs().items()}
    (declared,) = plan.declared.values()
    rows: dict[str, list[Pixels]] = {name: [sized(picture)] for name, picture in photographs().items()}
    points = None
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
        for name in ("eager", "executorch", "onnx"):
            run = program(name, settings, begun["motorcycle"]["image"], Path(scratch))
            for photo, state in begun.items():
                assets = plan.family.make_assets(declared.advance(state, run, xp), settings)
                found = assets["depth_map"]
                assert isinstance(found, DepthMap)
                rows[photo].append(sized(kinds.of("depth_map").picture(replace(found, field_of_view=None))))
                points = points or assets["points"]
    sheet = kinds.of("points").picture(points)
    edge = sheet.shape[1] // 4
    views = [sheet[v // 4 * edge : (v // 4 + 1) * edge, v % 4 * edge : (v % 4 + 1) * edge] for v in VIEWS]
    turned = np.concatenate([np.asarray(Image.fromarray(view).resize((CELL, CELL))) for view in views], 1)
    lines = [np.concatenate(cells, 1) for cells in rows.values()]
    Image.fromarray(np.concatenate([*lines, turned[CELL // 5 : -CELL // 5]])).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
