"""docs/real-weights.png: what the recipes of published weights make, in eager float32.

    python benchmarks/real_weights_picture.py

First row: photographs of scikit-image, each with its map over it. Second row: terrains of three difficulties, one seed,
lit from the upper left. Third row: the stereo pair with what XFeat and LighterGlue match in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data

from gen3dexport.assets.flat_pictures import false_colours
from gen3dexport.models import Request
from gen3dexport.models.img_focus.host.pipeline import photograph
from gen3dexport.observe import Eager
from gen3dexport.plan import make_plan, read_recipe, read_target

PICTURE = Path(__file__).parents[1] / "docs" / "real-weights.png"
HEIGHT = 220
Pixels = NDArray[np.uint8]


def made(recipe: str, request: Request, *assignments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The finished state and the assets of a request, in eager mode."""
    target = read_target("eager")
    plan = make_plan(read_recipe(recipe, target, assignments), target)
    state = plan.family.begin(plan.settings, request, plan.weights, xp)
    for declared in plan.declared.values():
        state = declared.advance(state, Eager(declared.load(plan.weights)), xp)
    return state, plan.family.make_assets(state, plan.settings)


def row(pictures: list[Pixels]) -> Pixels:
    """Pictures of one height side by side."""
    scaled = []
    for picture in pictures:
        image = Image.fromarray(picture)
        scaled.append(np.asarray(image.resize((round(image.width * HEIGHT / image.height), HEIGHT))))
    return np.concatenate(scaled, 1)


def focus(name: str) -> list[Pixels]:
    """A photograph, and its map in false colours over it."""
    picture = photograph(name)
    values = made("dinov2-s-focus", Request(image=picture))[1]["importance_map"].values
    grey = picture.mean(2, keepdims=True)
    over = 0.35 * grey + 0.65 * false_colours(values)
    return [picture, over.astype(np.uint8)]


def terrain(difficulty: int) -> Pixels:
    """A terrain from above, lit from the upper left."""
    heights = made("terrain-consistency", Request(str(difficulty), 7))[1]["height_field"].heights
    down, right = np.gradient(heights * len(heights))
    normal = np.stack([-right, -down, np.ones_like(down)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = np.clip(normal @ (np.array([-1, -1, 1.2]) / np.linalg.norm([1, 1, 1.2])), 0, 1)
    return (false_colours(heights) * (0.3 + 0.7 * light[..., None])).astype(np.uint8)


def matches() -> Pixels:
    """The stereo pair, with every fourth match."""
    pair = np.concatenate(data.stereo_motorcycle()[:2], 1)
    state, _ = made("xfeat", Request(image=pair))
    image = Image.fromarray(
        np.concatenate([state["colors"], (state["right"][0].transpose(1, 2, 0) * 255).astype(np.uint8)], 1)
    )
    draw, width = ImageDraw.Draw(image), state["colors"].shape[1]
    for i, j in state["matches"][::4]:
        (x, y), (u, v) = state["left_points"][i], state["right_points"][j]
        draw.line([(x, y), (u + width, v)], fill=(120, 255, 120), width=2)
    return np.asarray(image)


def main() -> None:
    """Draw and write."""
    rows = [row([p for name in ("astronaut", "chelsea", "coffee") for p in focus(name)])]
    rows += [row([terrain(difficulty) for difficulty in (10, 50, 100)]), row([matches()])]
    width = max(r.shape[1] for r in rows)
    padded = [np.pad(r, ((0, 8), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    Image.fromarray(np.concatenate(padded)).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
